"""How likely each trial is on the front, by what chance does to its figures.

Word errors are drawn anew over the utterances of dev, the same for all trials, so that two students
are compared in pairs. Times are taken for equal where their intervals do not tell them apart: a tie
is decided by the objectives that differ for sure. So a student is beaten by one that is no larger,
not surely slower and makes fewer errors, in so many of the draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
import pandas as pd

from search.objectives import signs
from spaces.metrics import MetricRef
from workers.measure.intervals import half_width

_DRAWS = 200
_Z95 = 1.96
_ERRORS = ("wer", "cer")
_CLEARLY = 1.5  # standard errors: who is beaten by more is not on the front in 93 % of draws
_MOST_RIVALS = 300  # draws take the square of their number
_ROWS = 500  # at a time, to bound memory
_CELLS = 4_000_000  # of draws, likewise


def front_chances(frame: pd.DataFrame, metrics: Sequence[MetricRef]) -> np.ndarray:
    """float [n]: in which share of draws nothing beats each row of a frame; of equal rows the
    first counts. Rows that one of the front beats clearly are not drawn: 0.

    Args:
        frame: complete trials that have a figure of every metric.
        metrics: the objectives, or what stands for them.
    """
    chances = np.zeros(len(frame))
    if len(frame):
        behind = _behind(frame, metrics)
        rivals = np.sort(np.argsort(behind, kind="stable")[:_MOST_RIVALS])
        rivals = rivals[behind[rivals] <= _CLEARLY]
        chances[rivals] = _drawn(frame.iloc[rivals], metrics)
    return chances


def not_told_apart(frame: pd.DataFrame, metric: MetricRef, row: int) -> np.ndarray:
    """bool [n]: which rows of a frame chance may have set apart from one of them in a metric.

    Args:
        frame: trials that have a figure of the metric.
        row: the place of the one.
    """
    values = frame[metric].to_numpy(float)
    if metric.name in _ERRORS:
        errors = _pair_errors(frame, metric, np.array([row]), np.arange(len(frame)))[0]
        return np.abs(values - values[row]) <= _Z95 * errors
    widths = _widths(frame, metric)
    found: np.ndarray = _apart(values[[row]], values, widths[[row]], widths)[0] == 0
    return found


def paired_difference(
    frame: pd.DataFrame, metric: MetricRef, row: int, other: int
) -> tuple[float, float]:
    """An error rate of another row less that of a row, and half of its 95 % interval: in pairs over
    dev where the errors by group are known, else from the intervals of both."""
    values = frame[metric].to_numpy(float)
    error = _pair_errors(frame, metric, np.array([row]), np.array([other]))[0, 0]
    return float(values[other] - values[row]), float(_Z95 * error)


def _behind(frame: pd.DataFrame, metrics: Sequence[MetricRef]) -> np.ndarray:
    """float [n]: by how many standard errors a row makes more errors than one of the front that is
    surely no worse in all else; 0 where there is none, or where it does not."""
    every = list(dict.fromkeys(metrics))
    best = np.flatnonzero(moocore.is_nondominated(frame[every].to_numpy(float) * signs(every)))
    wer = next((m for m in every if m.name in _ERRORS), None)
    found = np.zeros(len(frame))
    for first in range(0, len(frame), _ROWS):
        rows = np.arange(first, min(first + _ROWS, len(frame)))
        no_worse = np.ones((len(best), len(rows)), bool)
        for metric in _no_errors(every):
            values, widths = frame[metric].to_numpy(float), _widths(frame, metric)
            values = values * signs([metric])[0]
            no_worse &= _apart(values[best], values[rows], widths[best], widths[rows]) <= 0
        no_worse &= best[:, None] != rows
        if wer is not None:
            apart = frame[wer].to_numpy(float)[rows] - frame[wer].to_numpy(float)[best][:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                z = np.nan_to_num(apart / _pair_errors(frame, wer, best, rows), posinf=np.inf)
            found[rows] = np.where(no_worse, z, 0.0).max(axis=0, initial=0.0)
    return found


def _pair_errors(
    frame: pd.DataFrame, metric: MetricRef, best: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """float [best, rows]: standard errors of differences of error rates, in pairs where the errors
    by group are known."""
    each = _standard_errors(frame, metric)
    found = np.hypot(each[best][:, None], each[rows])
    groups, values = _groups(frame), frame[metric].to_numpy(float)
    for size in {len(g) for g in groups if g is not None}:
        a = [i for i, row in enumerate(best) if len(groups[row] or ()) == size]
        b = [i for i, row in enumerate(rows) if len(groups[row] or ()) == size]
        if not a or not b:
            continue
        ours = np.array([groups[row] for row in best[a]], float)
        theirs = np.array([groups[row] for row in rows[b]], float)
        apart = ours[:, None, :] - theirs[None, :, :]
        words = theirs.sum(axis=1) / np.maximum(values[rows[b]], 1e-9)
        spread = np.sqrt(size * apart.var(axis=2, ddof=1)) / np.maximum(words, 1.0)
        found[np.ix_(a, b)] = spread
    return found


def _drawn(frame: pd.DataFrame, metrics: Sequence[MetricRef]) -> np.ndarray:
    count = len(frame)
    no_worse, better = np.ones((count, count), bool), np.zeros((count, count), bool)
    for metric in _no_errors(metrics):
        values, widths = frame[metric].to_numpy(float) * signs([metric])[0], _widths(frame, metric)
        apart = _apart(values, values, widths, widths)
        no_worse &= apart <= 0  # [j, i]: j is not surely worse than i
        better |= apart < 0
    is_first = np.arange(count)[:, None] < np.arange(count)
    is_tie = no_worse & no_worse.T & ~better & ~better.T & is_first
    drawn = [_draw(frame, m) for m in dict.fromkeys(metrics) if m.name in _ERRORS]
    draws = np.stack(drawn) if drawn else np.zeros((1, 1, count))
    on_front = np.zeros(count)
    step = max(1, _CELLS // count**2)
    for first in range(0, draws.shape[1], step):
        some = draws[:, first : first + step]
        as_few = np.logical_and.reduce(some[..., :, None] <= some[..., None, :])  # [draws, j, i]
        fewer = np.logical_or.reduce(some[..., :, None] < some[..., None, :])
        is_equal = as_few & as_few.swapaxes(1, 2) & is_tie
        on_front += (~((no_worse & as_few & (better | fewer)) | is_equal).any(axis=1)).sum(axis=0)
    chances: np.ndarray = on_front / draws.shape[1]
    return chances


def _no_errors(metrics: Sequence[MetricRef]) -> list[MetricRef]:
    return [m for m in dict.fromkeys(metrics) if m.name not in _ERRORS]


def _apart(a: np.ndarray, b: np.ndarray, widths_a: np.ndarray, widths_b: np.ndarray) -> np.ndarray:
    """int [a, b]: -1 where the row's value is surely less than the column's, 1 where it is surely
    more, 0 where they are not told apart."""
    difference = a[:, None] - b
    if widths_a.any() or widths_b.any():  # intervals are of logarithms
        logs = [np.log(np.maximum(np.abs(values), 1e-12)) for values in (a, b)]
        is_told = np.abs(logs[0][:, None] - logs[1]) > np.hypot(widths_a[:, None], widths_b)
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
    utterances vary by their intervals, each for itself; nothing does that has neither."""
    values, groups = frame[metric].to_numpy(float), _groups(frame)
    rng = np.random.default_rng(0)
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
