"""A table whose rows open trials: the way by keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from dashboard.context import store
from dashboard.parts.address import chosen_trial, open_trial
from search.report.front_charts import interval_of
from search.report.labels import format_chance, format_interval, metric_label, scaled
from search.report.redaction import redact
from spaces.metrics import MetricRef
from storage.records import Study


def trial_rows(
    trials: pd.DataFrame, names: Sequence[str], key: str, study: Study | None = None
) -> None:
    """Trials with their figures, in the order given; the chosen one is marked.

    Args:
        trials: with `doubt` (`search.report.doubt`).
        names: the metrics that are shown.
        key: the table's own on the page.
        study: whose tags are shown beside them.
    """
    tags = _tags(study) if study is not None else {}
    columns: dict[str, object] = {"trial": trials["number"]}
    for name in names:  # what decides comes first: a phone shows little more
        columns[metric_label(name)] = scaled(name, trials[name])
        if MetricRef.of(name).name == "wer":
            columns["95 %"] = _intervals(trials, name)
    columns["on front"] = trials["front_chance"].where(trials["on_front"]).map(format_chance)
    columns["in doubt"] = trials["doubt"]
    columns["student"] = trials["label"]
    columns["state"] = trials["state"].str.replace("_", " ")
    if trials["reason"].notna().any():
        columns["reason"] = trials["reason"].map(
            lambda r: redact(r, 300) if isinstance(r, str) else ""
        )
    if tags:
        columns["tags"] = trials["number"].map(lambda n: ", ".join(tags.get(int(n), ())))
    table = pd.DataFrame(columns).reset_index(drop=True)
    formats = {metric_label(n): st.column_config.NumberColumn(format="%.4g") for n in names}
    numbers = table["trial"].tolist()
    # A table of other rows is another table: the place that was chosen means another trial there.
    key = f"{key}-{hash(tuple(numbers))}"
    st.dataframe(
        table,
        hide_index=True,
        key=key,
        on_select=partial(_open_row, key, numbers),
        selection_mode="single-row",
        selection_default=_row_of(numbers),
        column_config=formats,
        alt="Trials with their figures; choosing a row opens it",
    )


def _intervals(trials: pd.DataFrame, name: str) -> list[str]:
    ends = interval_of(name)
    if ends is None or ends[0] not in trials or ends[1] not in trials:
        return [""] * len(trials)
    both = zip(trials[ends[0]], trials[ends[1]], strict=True)
    return [
        format_interval(name, None if pd.isna(low) else low, None if pd.isna(high) else high)
        for low, high in both
    ]


def _tags(study: Study) -> dict[int, list[str]]:
    """Tags by trial."""
    found: dict[int, list[str]] = {}
    for note in store().notes.of(study.id):
        if note.kind == "tag" and note.trial_number is not None:
            found.setdefault(note.trial_number, []).append(redact(note.text, 60))
    return found


def _row_of(numbers: list[int]) -> dict[str, object] | None:
    """The chosen trial's place, where it has one."""
    chosen = chosen_trial(numbers)
    return None if chosen is None else {"selection": {"rows": [numbers.index(chosen)]}}


def _open_row(key: str, numbers: list[int]) -> None:
    for place in st.session_state[key]["selection"]["rows"]:
        open_trial(int(numbers[place]))
