"""All trials as a table: which ones, what is in doubt, and why others are none."""

from __future__ import annotations

import streamlit as st

from dashboard.parts.table import trial_rows
from dashboard.parts.views.seen import Seen
from search.report.export import as_csv, as_parquet
from search.report.redaction import file_name

_WHICH = ("Front within the budgets", "Within the budgets", "All")


def rows(seen: Seen, is_narrow: bool) -> None:  # noqa: ARG001 - as every view
    """Trials by state and budgets."""
    left, right = st.columns([3, 2])
    which = left.segmented_control(
        "Which", _WHICH, default=_WHICH[0], required=True, key="rows", bind="query-params"
    )
    states = sorted(seen.trials["state"].unique())
    kept = right.multiselect(
        "State",
        states,
        placeholder="any",
        format_func=lambda s: s.replace("_", " "),
        key="states",
        bind="query-params",
    )
    shown = seen.trials
    if kept:
        shown = shown[shown["state"].isin(kept)]
    if which != _WHICH[2]:
        shown = shown[shown["fits"]]
    if which == _WHICH[0]:
        shown = shown[shown["on_front"]]
    if shown.empty:
        st.info("No trial is such.")
    else:
        trial_rows(shown.sort_values(seen.names[0]), seen.names, "all-rows", study=seen.study)
    name = file_name(seen.study.name)
    with st.container(horizontal=True):
        st.download_button(
            "All trials as CSV",
            lambda: as_csv(seen.trials),
            f"{name}.csv",
            "text/csv",
            on_click="ignore",
        )
        st.download_button(
            "All trials as Parquet",
            lambda: as_parquet(seen.trials),
            f"{name}.parquet",
            on_click="ignore",
        )
