"""Which student to ship: the least whose word errors dev does not tell from the fewest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from search.analysis.front_chance import not_told_apart, paired_difference
from search.analysis.pick import Limit, fits, nearest_misses, parse_where
from search.errors import UsageFault
from search.objectives import signs
from spaces.metrics import METRICS, MetricRef
from storage.records import TrialState

_USUAL = ("size_mb", "wer", "wer_low", "wer_high", "latency_p95_ms")
_TIMES = ("latency_p50_ms", "graph_p50_ms")
_MOST_BACK = 64  # trials: an answer that is older is old enough


@dataclass(frozen=True)
class Beside:
    """Another trial beside the answer.

    `points`, `low` and `high` are its WER less that of the answer with the 95 % interval, paired
    over dev where the errors are known, as fractions; `larger` how much more of the cost that the
    rule minimises it has, as a fraction (negative: less).
    """

    number: int
    points: float
    low: float
    high: float
    larger: float


@dataclass(frozen=True)
class Answer:
    """The trial to ship under some limits.

    Attributes:
        by: what the rule minimises among those that dev does not tell from the fewest errors.
        figures: of the trial on the target: `wer` with its ends, `size_mb`, `latency_p95_ms`.
        asked: the other figures that have limits.
        is_steady: whether its times were measured in quiet; None where they were not measured.
        fewest: the trial with the fewest errors, where it is another.
        below: the largest that is smaller (or the slowest that is faster) on the front.
        n_tied: trials within the limits that dev does not tell from the fewest errors.
        stands: so many complete trials ago it was the answer as well, as it was at each look in
            between (1, 2, 4 … trials ago).
    """

    number: int
    label: str
    by: MetricRef
    target: str
    figures: dict[str, float]
    asked: dict[MetricRef, float]
    is_steady: bool | None
    fewest: Beside | None
    below: Beside | None
    n_tied: int
    n_within: int
    n_complete: int
    stands: int


def answer_of(
    frame: pd.DataFrame,
    limits: Sequence[Limit] = (),
    target: str = "",
    by: str = "size_mb",
) -> Answer | None:
    """The least trial within limits whose WER is not told from the fewest errors there.

    Args:
        frame: trials (`search.analysis.trial_frame`).
        target: whose figures count; the first of the space by default.
        by: the metric that is least: `size_mb`, or a time.

    Returns:
        None where no complete trial is within the limits.
    """
    wer, cost = _column(frame, "wer", target), _cost_column(frame, by, target)
    if wer is None or cost is None:
        return None
    complete = frame[frame["state"] == TrialState.COMPLETE]
    within = complete[fits(complete, limits) & _was_measured_on(complete, target)]
    within = within.dropna(subset=[wer, cost]).reset_index(drop=True)
    place = _place(within, wer, cost)
    if place is None:
        return None
    best = int(within[wer].to_numpy(float).argmin())
    row = within.iloc[place]
    is_fewest = row[wer] <= within[wer].iloc[best]
    is_less = _costs(within, cost) < _costs(within, cost)[place]
    smaller = within[within["on_front"] & is_less & ~not_told_apart(within, cost, place)]
    below = None if smaller.empty else int(_costs(within, cost)[smaller.index].argmax())
    return Answer(
        number=int(row["number"]),
        label=str(row["label"]),
        by=cost,
        target=target,
        figures=_figures(frame, row, target),
        asked=_asked(row, target, limits),
        is_steady=_is_steady(frame, row, target),
        fewest=None if is_fewest else _beside(within, wer, cost, place, best),
        below=None if below is None else _beside(within, wer, cost, place, smaller.index[below]),
        n_tied=int(not_told_apart(within, wer, best).sum()),
        n_within=len(within),
        n_complete=len(complete),
        stands=_stands(within, wer, cost, int(row["number"])),
    )


def trial_to_ship(frame: pd.DataFrame, where: str | None = None, target: str = "") -> int:
    """The number of the answer under a condition.

    Raises:
        UsageFault: when no complete trial meets it, naming the nearest misses.
    """
    limits = parse_where(where) if where else []
    answer = answer_of(frame, limits, target)
    if answer is None:
        complete = frame[frame["state"] == TrialState.COMPLETE]
        if complete.empty:
            raise UsageFault("the study has no complete trial yet")
        if not limits:
            raise UsageFault(
                f"no complete trial was measured {f'on {target}' if target else 'yet'}"
            )
        raise UsageFault(
            f"no complete trial meets {where} ({'; '.join(nearest_misses(complete, limits))})"
        )
    return answer.number


def _column(frame: pd.DataFrame, name: str, target: str) -> MetricRef | None:
    """The column of a target's own figure; of what is no time, that of the first target stands for
    it. None where nobody has such a figure."""
    own = MetricRef(name, target)
    is_timed = name in METRICS and METRICS[name].noisy
    metrics = [own] if is_timed or not target else [own, MetricRef(name)]
    return next((m for m in metrics if m in frame and frame[m].notna().any()), None)


def _cost_column(frame: pd.DataFrame, by: str, target: str) -> MetricRef | None:
    """What the rule minimises; the network alone where a runtime times no more, as by adb."""
    names = (by, "graph_p95_ms") if by.startswith("latency") else (by,)
    return next((c for name in names if (c := _column(frame, name, target)) is not None), None)


def _was_measured_on(complete: pd.DataFrame, target: str) -> pd.Series:
    """Which trials have a time of a target; all where none is named."""
    times = [m for m in (MetricRef(name, target) for name in _TIMES) if m in complete]
    if not target:
        return pd.Series(True, index=complete.index)
    found: pd.Series = complete[times].notna().any(axis=1)
    return found


def _costs(within: pd.DataFrame, cost: MetricRef) -> np.ndarray:
    """float [n], less is better."""
    found: np.ndarray = within[cost].to_numpy(float) * signs([cost])[0]
    return found


def _place(within: pd.DataFrame, wer: MetricRef, cost: MetricRef) -> int | None:
    """Where the answer is: the least of those with errors as few as the fewest. Costs that are not
    told apart are equal, and then the smaller file counts, then fewer errors."""
    if within.empty:
        return None
    tied = np.flatnonzero(not_told_apart(within, wer, int(within[wer].to_numpy(float).argmin())))
    some = within.iloc[tied]
    least = int(_costs(some, cost).argmin())
    equal = some[not_told_apart(some, cost, least)]
    order = [m for m in (MetricRef("size_mb"), wer) if m in equal]
    first = equal.sort_values(list(map(str, order)), kind="stable").index[0]
    return int(first)


def _beside(
    within: pd.DataFrame, wer: MetricRef, cost: MetricRef, place: int, other: int
) -> Beside:
    points, error = paired_difference(within, wer, place, other)
    mine, theirs = (abs(float(within[cost].iloc[at])) for at in (place, other))
    return Beside(
        number=int(within["number"].iloc[other]),
        points=points,
        low=points - error,
        high=points + error,
        larger=theirs / mine - 1 if mine else math.inf,
    )


def _figures(frame: pd.DataFrame, row: pd.Series, target: str) -> dict[str, float]:
    found = {name: _column(frame, name, target) for name in _USUAL}
    return {n: float(row[m]) for n, m in found.items() if m is not None and pd.notna(row[m])}


def _asked(row: pd.Series, target: str, limits: Sequence[Limit]) -> dict[MetricRef, float]:
    """Figures that have limits and are none of the usual ones."""
    metrics = dict.fromkeys(limit.metric for limit in limits)
    return {
        m: float(row[m]) for m in metrics if not (m.name in _USUAL and m.target in ("", target))
    }


def _is_steady(frame: pd.DataFrame, row: pd.Series, target: str) -> bool | None:
    time = _column(frame, "latency_p50_ms", target)
    if time is None or pd.isna(row[time]):
        return None
    flag = row.get(MetricRef("unsteady", target))
    return flag is None or pd.isna(flag) or not flag


def _stands(within: pd.DataFrame, wer: MetricRef, cost: MetricRef, number: int) -> int:
    """How many trials ago, of those within the limits, it was the answer already."""
    ended = within.sort_values("finished_at", kind="stable").reset_index(drop=True)
    back, most = 0, min(_MOST_BACK, len(ended) - 1)
    while back < most:
        step = min(max(1, back), most - back)  # 1, 2, 4 …: one that is old is found in a few
        earlier = ended.iloc[: len(ended) - back - step]
        place = _place(earlier.reset_index(drop=True), wer, cost)
        if place is None or int(earlier["number"].iloc[place]) != number:
            break
        back += step
    return back
