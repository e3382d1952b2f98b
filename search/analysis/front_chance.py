"""How likely each trial is on the front, by what chance does to its figures.

Word errors are drawn anew over the utterances of dev, the same for all trials, so that two students
are compared in pairs. Times are taken for equal where their intervals do not tell them apart: a tie
is decided by the objectives that differ for sure. So a student is beaten by one that is no larger,
not surely slower and makes fewer errors, in so many of the draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from search.objectives import signs
from spaces.metrics import MetricRef
from workers.measure.intervals import half_width

_DRAWS = 400
_Z95 = 1.96
_ERRORS = ("wer", "cer")
_CLEARLY = 4.0  # standard errors: beaten so clearly, a trial need not be drawn


def front_chances(frame: pd.DataFrame, metrics: Sequence[MetricRef]) -> np.ndarray:
    """float [n]: in which share of draws nothing beats each row of a frame; of equal rows the
    first counts.

    Args:
        frame: complete trials that have a figure of every metric.
        metrics: the objectives, or what stands for them.
    """
    chances = np.zeros(len(frame))
    rivals = np.flatnonzero(~_is_clearly_beaten(frame, metrics))
    chances[rivals] = _drawn(frame.iloc[rivals], metrics)
    return chances


def _is_clearly_beaten(frame: pd.DataFrame, metrics: Sequence[MetricRef]) -> np.ndarray:
    """bool [n]: rows that another beats by more than any draw takes back. Those are left out of
    the draws, which take the square of the rows' number."""
    exact = _no_errors(metrics)
    values = frame[list(exact)].to_numpy(float) * signs(exact)
    widths = np.column_stack([_widths(frame, m) for m in exact]) if exact else values
    errors = [frame[m].to_numpy(float) for m in metrics if m.name in _ERRORS]
    margins = [_CLEARLY * _standard_errors(frame, m) for m in metrics if m.name in _ERRORS]
    order = np.lexsort([*values.T, *errors]) if len(frame) else np.array([], int)
    beaten = np.zeros(len(frame), bool)
    kept: list[int] = []
    for place in order:  # those with few errors first: who beats comes before whom it beats
        if kept:
            others = np.array(kept)
            is_no_worse = _is_at_most(values[others], values[place], widths[others]).all(axis=1)
            for wer, margin in zip(errors, margins, strict=True):
                is_no_worse &= wer[others] + np.hypot(margin[others], margin[place]) < wer[place]
            beaten[place] = bool(errors) and is_no_worse.any()
        if not beaten[place]:
            kept.append(int(place))
    return beaten


def _is_at_most(values: np.ndarray, limit: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Which figures are at most those of one trial even at the wrong end of their intervals."""
    worst = np.where(values >= 0, values * np.exp(widths), values * np.exp(-widths))
    found: np.ndarray = worst <= limit
    return found


def _drawn(frame: pd.DataFrame, metrics: Sequence[MetricRef]) -> np.ndarray:
    count = len(frame)
    no_worse, better = np.ones((count, count), bool), np.zeros((count, count), bool)
    for metric in _no_errors(metrics):
        values = frame[metric].to_numpy(float) * signs([metric])[0]
        apart = _apart(values, _widths(frame, metric))
        no_worse &= apart <= 0  # [j, i]: j is not surely worse than i
        better |= apart < 0
    draws = np.stack([_draw(frame, m) for m in metrics if m.name in _ERRORS] or [np.zeros((1, 0))])
    if draws.shape[2] == 0:
        draws = np.zeros((1, 1, count))
    is_first = np.arange(count)[:, None] < np.arange(count)
    on_front = np.zeros(count)
    for draw in np.moveaxis(draws, 1, 0):  # float [errors, n]
        as_few = (draw[:, :, None] <= draw[:, None, :]).all(axis=0)
        fewer = (draw[:, :, None] < draw[:, None, :]).any(axis=0)
        ties = no_worse & no_worse.T & as_few & as_few.T & ~better & ~better.T & is_first
        on_front += ~((no_worse & as_few & (better | fewer)) | ties).any(axis=0)
    chances: np.ndarray = on_front / draws.shape[1]
    return chances


def _no_errors(metrics: Sequence[MetricRef]) -> list[MetricRef]:
    return [m for m in dict.fromkeys(metrics) if m.name not in _ERRORS]


def _apart(values: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """int [n, n]: -1 where the row's value is surely less than the column's, 1 where it is surely
    more, 0 where they are not told apart."""
    difference = values[:, None] - values[None, :]
    if widths.any():  # intervals are of logarithms
        logs = np.log(np.maximum(np.abs(values), 1e-12))
        is_told = np.abs(logs[:, None] - logs) > np.hypot(widths[:, None], widths[None, :])
        difference = np.where(is_told, difference, 0.0)
    found: np.ndarray = np.sign(difference).astype(int)
    return found


def _widths(frame: pd.DataFrame, metric: MetricRef) -> np.ndarray:
    """float [n]: halves of the 95 % intervals of logarithms; 0 of exact figures. What was measured
    before figures had intervals is taken for what hours make of it."""
    if not metric.known.noisy:
        return np.zeros(len(frame))
    usual = np.full(len(frame), half_width(metric.name))
    low, high = (MetricRef(f"{metric.name}_{end}", metric.target) for end in ("low", "high"))
    if low not in frame or high not in frame:
        return usual
    with np.errstate(divide="ignore", invalid="ignore"):
        known = np.log(frame[high].to_numpy(float) / frame[low].to_numpy(float)) / 2
    return np.where(np.isfinite(known), known, usual)


def _draw(frame: pd.DataFrame, metric: MetricRef) -> np.ndarray:
    """float [draws, n]: error rates on dev sets drawn anew. Trials without word errors by group of
    utterances vary by their intervals, each for itself."""
    rng = np.random.default_rng(0)
    values = frame[metric].to_numpy(float)
    groups = _groups(frame)
    drawn = values + rng.normal(size=(_DRAWS, len(values))) * _standard_errors(frame, metric)
    for size in sorted({len(g) for g in groups if g is not None}):
        those = [i for i, g in enumerate(groups) if g is not None and len(g) == size]
        errors = np.array([groups[i] for i in those], float)
        counts = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), _DRAWS)
        shares = counts @ errors.T / np.maximum(1.0, errors.sum(axis=1))
        drawn[:, those] = values[those] * shares
    return drawn


def _groups(frame: pd.DataFrame) -> list[Sequence[int] | None]:
    if "error_groups" not in frame:
        return [None] * len(frame)
    return [
        g if isinstance(g, list | tuple) and len(g) > 1 else None for g in frame["error_groups"]
    ]


def _standard_errors(frame: pd.DataFrame, metric: MetricRef) -> np.ndarray:
    """float [n]: of an error rate, from its interval; 0 where there is none."""
    low, high = (MetricRef(f"wer_{end}", metric.target) for end in ("low", "high"))
    if low not in frame or high not in frame:
        return np.zeros(len(frame))
    found = (frame[high] - frame[low]).to_numpy(float) / (2 * _Z95)
    return np.nan_to_num(found)
