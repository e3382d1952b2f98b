"""One trial in a panel: what it is, what it came to, and the way to its package."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from dashboard.parts.address import (
    add_to_compare,
    chosen_trial,
    compared,
    link,
    may_compare_more,
    opened_before,
    trial_asked,
)
from dashboard.parts.export import export_trial
from search.analysis.trial_frame import is_measured
from search.report.doubt import doubts
from search.report.labels import TOLD_OF_TEST, format_metric, line_of_test, metric_name
from search.report.redaction import markdown, redact
from spaces.metrics import METRICS, TEST_METRICS, MetricRef
from spaces.space import Space
from storage.records import MEASURED, Study

_TILES = ("wer", "latency_p50_ms", "latency_p95_ms", "size_mb", "peak_memory_mb", "qoi")


def show_trial(
    study: Study, space: Space, number: int, trials: pd.DataFrame, ship: int | None
) -> None:
    """What it is worth, the way to its package, figures by target, and a link to the rest.

    Args:
        ship: the trial that the page says to ship, to compare it with.
    """
    trial_head(study, space, number, trials)
    with st.container(horizontal=True):
        link("trial", "Everything about this trial", ":material/search:", study.name)
        if (other := _other(number, trials, ship)) is not None:
            link(
                "compare",
                f"Compare with trial {other}",
                ":material/compare_arrows:",
                study.name,
                compare=f"{other},{number}",
            )
        compare_it(number, trials)
    row = trials.loc[trials["number"] == number].iloc[0]
    export_trial(study, space, number, str(row["state"]))
    by_target(row, space)


def _other(number: int, trials: pd.DataFrame, ship: int | None) -> int | None:
    """Whom one would compare it with: the trial that was open before, or the one to ship."""
    measured = trials[is_measured(trials)]["number"]
    if number not in set(measured):
        return None
    before = opened_before(measured)
    if before is not None:
        return before
    return None if ship == number else ship


def trial_head(study: Study, space: Space, number: int, trials: pd.DataFrame) -> None:
    """What it is, why it is no more, and the figures people ask for first."""
    row = trials.loc[trials["number"] == number].iloc[0]
    st.subheader(f"Trial {number}")
    state = str(row["state"]).replace("_", " ")
    st.caption(f"{markdown(row['label'])} · {state} · by {markdown(row['source'])}")
    if isinstance(row["reason"], str):
        st.text(redact(row["reason"]))
    _badges(row)
    teacher = study.teacher_metrics
    st.caption(where(space, space.first_target))
    tiles(row, teacher)
    interval(row)
    on_test(row, teacher)


def _badges(row: pd.Series) -> None:
    """What is in doubt, where it is read."""
    said = doubts(pd.DataFrame([row])).iloc[0]
    for doubt in said.split("; ") if said else ():
        st.badge(doubt, icon=":material/help:", color="orange")


def compare_it(number: int, trials: pd.DataFrame) -> None:
    """A button that adds it to those to compare."""
    numbers, row = trials["number"], trials.loc[trials["number"] == number].iloc[0]
    if number in compared(numbers):
        st.caption("It is among those to compare.")
    elif may_compare_more(numbers) and row["state"] in [str(s) for s in MEASURED]:
        st.button(
            "Compare it", on_click=add_to_compare, args=(number, numbers), key=f"add-{number}"
        )


def no_such_trial(study: Study, trials: pd.DataFrame) -> None:
    """Say so where the address names a trial that the study does not have."""
    asked = trial_asked()
    if asked is not None and chosen_trial(trials["number"]) is None:
        st.warning(
            f"There is no trial {markdown(asked, 20)} in {markdown(study.name, 60)}; it has "
            f"{len(trials)}, from 0."
        )


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
