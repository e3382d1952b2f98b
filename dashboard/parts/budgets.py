"""Budgets that are moved or typed: both say the same, and the address holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from search.analysis.trial_frame import is_measured
from search.report.labels import format_metric, metric_label, metric_name, scaled
from spaces.metrics import MetricRef
from spaces.space import Space
from storage.records import Study

_STOPS = 60
_MAY_BE_NEGATIVE = ("long_excess",)


def choose_budgets(
    study: Study, trials: pd.DataFrame, names: Sequence[MetricRef], space: Space
) -> dict[str, float]:
    """A field and a slider for each figure; the limits that were set."""
    measured = is_measured(trials)
    limits: dict[str, float] = {}
    for column, name in zip(st.columns(len(names)), names, strict=True):
        with column:
            _typed(name)
            _moved(study, name, trials.loc[measured, name].dropna())
        asked = st.session_state.get(_key(name))
        if asked is not None:
            limits[name] = float(asked) / _scale(name)
    if own := [str(b) for b in space.budgets]:
        st.caption(
            f"The space's own budgets: {', '.join(own)}. Trials beyond them are infeasible, and "
            "never complete."
        )
    return limits


def _key(name: MetricRef) -> str:
    """Of the field, and so the name in the address."""
    return f"{name}"


def _scale(name: MetricRef) -> float:
    return float(scaled(name, 1.0))


def _typed(name: MetricRef) -> None:
    least = "at least" if name.known.higher_is_better else "at most"
    st.number_input(
        f"{metric_label(name)} {least}",
        min_value=None if name.name in _MAY_BE_NEGATIVE else 0.0,
        value=None,
        placeholder="any",
        format="%.4g",
        step=None,
        key=_key(name),
        bind="query-params",
        help=f"{name.known.meaning}. Type a number, or move the slider below.",
    )


def _moved(study: Study, name: MetricRef, values: pd.Series) -> None:
    """The slider shows what was typed, and types what it is moved to."""
    higher = name.known.higher_is_better
    nothing = -math.inf if higher else math.inf
    typed = st.session_state.get(_key(name))
    now = nothing if typed is None else float(typed) / _scale(name)
    stops = sorted({_text(name, s): s for s in (*_steps(values), now, nothing)}.values())
    key = f"move-{study.id}-{name}"
    st.session_state[key] = min(stops, key=lambda s: (_text(name, s) != _text(name, now), s))
    st.select_slider(
        f"{metric_name(name)} {'at least' if higher else 'at most'}",
        options=stops,
        format_func=partial(_text, name),
        key=key,
        on_change=_type,
        args=(key, name),
        label_visibility="collapsed",
    )


def _type(key: str, name: MetricRef) -> None:
    value = float(st.session_state[key])
    shown = None if math.isinf(value) else float(f"{value * _scale(name):.4g}")
    st.session_state[_key(name)] = shown


def _text(name: MetricRef, value: float) -> str:
    return "any" if math.isinf(value) else format_metric(name, value)


def _steps(values: pd.Series) -> list[float]:
    """Some sixty stops over the values, evenly by rank, each told apart by three digits."""
    if values.empty:
        return []
    found = np.unique(np.quantile(values, np.linspace(0, 1, _STOPS)))
    return [float(f"{v:.3g}") for v in found]
