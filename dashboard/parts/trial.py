"""One trial in a panel: what it is, what it came to, and the way to its package."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from dashboard.parts.export import export_trial
from search.report.labels import TOLD_OF_TEST, format_metric, line_of_test, metric_name
from search.report.redaction import markdown, redact
from spaces.metrics import METRICS, TEST_METRICS, MetricRef
from spaces.space import Space
from storage.records import MEASURED, Study

_TILES = ("wer", "latency_p50_ms", "latency_p95_ms", "size_mb", "peak_memory_mb", "qoi")


def show_trial(
    study: Study, space: Space, number: int, trials: pd.DataFrame, is_all: bool = False
) -> None:
    """Figures by target, the recipe in words, export; and a link to the rest, if there is more."""
    row = trials.loc[trials["number"] == number].iloc[0]
    st.subheader(f"Trial {number}")
    state = str(row["state"]).replace("_", " ")
    st.caption(f"{markdown(row['label'])} · {state} · by {markdown(row['source'])}")
    if isinstance(row["reason"], str):
        st.text(redact(row["reason"]))
    teacher = study.teacher_metrics
    st.caption(where(space, space.first_target))
    tiles(row, teacher)
    interval(row)
    on_test(row, teacher)
    left, right = st.columns([3, 2])
    with left:
        by_target(row, space)
    with right:
        export_trial(study, space, number, str(row["state"]))
        if not is_all:
            more = "Everything about this trial"
            st.page_link("app_pages/trial.py", label=more, icon=":material/search:")
        compared = st.session_state.setdefault("compared", [])
        if number in compared:
            st.caption("It is among those to compare.")
        elif len(compared) < 4 and row["state"] in [str(s) for s in MEASURED]:
            st.button("Compare it", on_click=compared.append, args=(number,), key=f"add-{number}")


def where(space: Space, target: str) -> str:
    """Where the figures that are shown come from, as Markdown."""
    t = space.targets[target]
    threads = "1 thread" if t.threads == 1 else f"{t.threads} threads"
    return (
        f"Times and memory on {markdown(target)} ({t.backend}, {threads}), "
        "word errors of the exported file on the dev set"
    )


def tiles(row: pd.Series, teacher: Mapping[str, float]) -> None:
    """The figures people ask for first, each beside the teacher's."""
    known = [m for m in _TILES if m in row and pd.notna(row[m])]
    if not known:
        return
    row_of_tiles = st.container(horizontal=True, gap="medium")
    for metric in known:
        beside = teacher.get(metric)
        row_of_tiles.metric(
            metric_name(metric),
            format_metric(metric, row[metric]),
            None if beside is None else f"teacher {format_metric(metric, beside)}",
            delta_color="off",
            delta_arrow="off",
            help=METRICS[metric].meaning,
            width="content",
        )


def interval(row: pd.Series) -> None:
    """How far the WER can be trusted."""
    low, high, words = (row.get(name) for name in ("wer_low", "wer_high", "n_words"))
    if low is None or high is None or words is None or pd.isna([low, high, words]).any():
        return
    between = f"{format_metric('wer', low)} to {format_metric('wer', high)}"
    st.caption(f"WER between {between} (95 %, bootstrap over utterances, {words:.0f} words)")


def on_test(row: pd.Series, teacher: Mapping[str, float]) -> None:
    """What the test set says, apart from the figures of dev."""
    line = line_of_test({str(m): v for m, v in row.items() if m in TEST_METRICS})
    if line is None:
        return
    theirs = line_of_test(teacher)
    beside = f"; the teacher: {theirs}" if theirs else ""
    st.caption(f"On test, {TOLD_OF_TEST}: {line}{beside}")


def by_target(row: pd.Series, space: Space) -> None:
    """Every figure with its unit; where it was measured is the column's name."""
    metrics = [MetricRef.of(str(c)) for c in row.index]
    known = [m for m in metrics if m.is_known and pd.notna(row[m])]
    columns = {
        target: {
            metric_name(name): format_metric(ref, row[ref])
            for name in METRICS
            if (ref := MetricRef(name, target)) in known
        }
        for target in space.targets
    }
    st.dataframe(
        pd.DataFrame(columns).fillna(""),
        height=420,
        alt="All figures of the trial, a column for each target",
    )
    told = {m.target for m in known}
    if lacking := [markdown(target) for target in space.targets if target not in told]:
        st.caption(f"Not measured on {', '.join(lacking)}")
    anywhere = [m for m in known if not m.target and not m.known.per_target]
    st.caption(" · ".join(f"{metric_name(m)} {format_metric(m, row[m])}" for m in anywhere))
