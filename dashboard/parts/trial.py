"""One trial in a panel: what it is, what it came to, and the way to its package."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.parts.export import export_trial
from dashboard.words import without_places
from search.figures import label, name_of
from search.tables import shown
from spaces.metrics import METRICS
from spaces.space import Space
from storage.records import Study

_TILES = ("wer", "latency_p50_ms", "latency_p95_ms", "size_mb", "peak_memory_mb", "qoi")


def show_trial(study: Study, space: Space, number: int, trials: pd.DataFrame) -> None:
    """Figures by target, the recipe in words, export."""
    row = trials.loc[trials["number"] == number].iloc[0]
    st.subheader(f"Trial {number}")
    st.caption(f"{row['label']} · {str(row['state']).replace('_', ' ')} · by {row['source']}")
    if isinstance(row["reason"], str):
        st.text(without_places(row["reason"]))
    teacher = study.facts.get("teacher", {})
    tiles(row, teacher)
    left, right = st.columns([3, 2])
    with left:
        by_target(row, space)
    with right:
        export_trial(study, space, number, str(row["state"]))
        st.page_link(
            "app_pages/trial.py", label="Everything about this trial", icon=":material/search:"
        )
        compared = st.session_state.setdefault("compared", [])
        if number in compared:
            st.caption("It is among those to compare.")
        elif len(compared) < 4:
            st.button("Compare it", on_click=compared.append, args=(number,), key=f"add-{number}")


def tiles(row: pd.Series, teacher: dict[str, float]) -> None:
    """The figures people ask for first, each beside the teacher's."""
    known = [m for m in _TILES if m in row and pd.notna(row[m])]
    if not known:
        return
    row_of_tiles = st.container(horizontal=True, gap="large")
    for metric in known:
        beside = teacher.get(metric)
        row_of_tiles.metric(
            name_of(metric),
            shown(metric, row[metric]),
            None if beside is None else f"teacher {shown(metric, beside)}",
            delta_color="off",
            delta_arrow="off",
            help=METRICS[metric].meaning,
            width="content",
        )


def by_target(row: pd.Series, space: Space) -> None:
    """Every figure of every target, with units; where each was measured is the column's name."""
    columns: dict[str, dict[str, str]] = {}
    exact = {
        label(m): shown(m, row[m])
        for m in METRICS
        if m in row and pd.notna(row[m]) and not any(f"{m}@{t}" in row for t in space.targets)
    }
    for target in space.targets:
        columns[target] = {
            label(m): shown(m, row[f"{m}@{target}"])
            for m in METRICS
            if f"{m}@{target}" in row and pd.notna(row[f"{m}@{target}"])
        }
    table = pd.DataFrame(columns)
    if exact:
        table = pd.concat([table, pd.DataFrame({"everywhere": exact})], axis=1)
    st.dataframe(
        table.fillna(""), height=320, alt="All figures of the trial, a column for each target"
    )
