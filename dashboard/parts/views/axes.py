"""A line for each trial over its axes and figures."""

from __future__ import annotations

import streamlit as st

from dashboard.parts.views.seen import Seen
from search.analysis.trial_frame import common_axes, downsample
from search.report.charts import parallel_coordinates

_MOST_AXES = 14  # side by side
_MOST_LINES = 300


def axes(seen: Seen, is_narrow: bool) -> None:  # noqa: ARG001 - as every view
    """The trials within the budgets; a strip that scrolls where the screen is narrow."""
    inside = seen.trials[seen.trials["fits"]].dropna(subset=seen.names)
    some = downsample(inside, inside.columns, most=_MOST_LINES)
    if some.empty:
        st.info("No trial that meets these budgets has all of these figures.")
        return
    found = common_axes(some)
    columns = [*list(found)[: _MOST_AXES - len(seen.names)], *seen.names]
    with st.container(key="axes-strip"):
        st.plotly_chart(
            parallel_coordinates(found.join(some[seen.names]), columns, seen.names[0]),
            key="parallel",
            alt="A line for each trial over its axes and figures",
        )
    n_without = int(found[columns[: -len(seen.names)]].isna().any(axis=1).sum())
    if n_without:
        st.caption(f"{n_without} of the teacher's own graph have no such axes and are no lines.")
    if len(some) < len(inside):
        st.caption(f"{len(some)} of {len(inside)} trials are drawn: the front and an even share.")
