"""A table whose rows open trials: the way by keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from dashboard.parts.choice import chosen_trial, open_trial
from search.report.labels import metric_label, scaled


def trial_rows(trials: pd.DataFrame, names: Sequence[str], key: str) -> None:
    """Trials with their figures, in the order given; the chosen one is marked.

    Args:
        names: the metrics that are shown.
        key: the table's own on the page.
    """
    table = pd.DataFrame(
        {
            "trial": trials["number"],
            "student": trials["label"],
            "state": trials["state"].str.replace("_", " "),
            **{metric_label(n): scaled(n, trials[n]) for n in names},
        }
    ).reset_index(drop=True)
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


def _row_of(numbers: list[int]) -> dict[str, object] | None:
    """The chosen trial's place, where it has one."""
    chosen = chosen_trial(numbers)
    return None if chosen is None else {"selection": {"rows": [numbers.index(chosen)]}}


def _open_row(key: str, numbers: list[int]) -> None:
    for place in st.session_state[key]["selection"]["rows"]:
        open_trial(int(numbers[place]))
