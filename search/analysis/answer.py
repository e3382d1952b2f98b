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

    @property
    def is_told_apart(self) -> bool:
        """Whether chance does not explain the difference in errors."""
        return not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Answer:
    """The trial to ship under some limits.

    Attributes:
        by: what the rule minimises among those that dev does not tell from the fewest errors.
        figures: of the trial: errors with their interval, size, p95 and what has limits.
        is_steady: whether its times were measured in quiet; None where they were not measured.
        fewest: the trial with the fewest errors, where it is another.
        below: the largest that is smaller (or the slowest that is faster) on the front.
        n_tied: trials within the limits that dev does not tell from the fewest errors.
        stands: complete trials that have ended since it became the answer; 64 means more.
    """

    number: int
    label: str
    by: MetricRef
    target: str
    figures: dict[MetricRef, float]
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
    wer, cost = (_column(frame, name, target) for name in ("wer", by))
    if wer is None or cost is None:
        return None
    complete = frame[frame["state"] == TrialState.COMPLETE]
    within = complete[fits(complete, limits)].dropna(subset=[wer, cost]).reset_index(drop=True)
    place = _place(within, wer, cost)
    if place is None:
        return None
    best = int(within[wer].to_numpy(float).argmin())
    row = within.iloc[place]
    is_fewest = row[wer] <= within[wer].iloc[best]
    smaller = within[within["on_front"] & (_costs(within, cost) < _costs(within, cost)[place])]
    below = None if smaller.empty else int(_costs(within, cost)[smaller.index].argmax())
    return Answer(
        number=int(row["number"]),
        label=str(row["label"]),
        by=cost,
        target=target,
        figures=_figures(frame, row, target, [limit.metric for limit in limits]),
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
        misses = "; ".join(nearest_misses(complete, limits)) or f"none was measured on {target}"
        raise UsageFault(f"no complete trial meets {where or 'that'} ({misses})")
    return answer.number


def _column(frame: pd.DataFrame, name: str, target: str) -> MetricRef | None:
    """The column of a target's own figure; of what is no time, that of the first target stands for
    it. None where nobody has such a figure."""
    own = MetricRef(name, target)
    is_timed = name in METRICS and METRICS[name].noisy
    metrics = [own] if is_timed or not target else [own, MetricRef(name)]
    return next((m for m in metrics if m in frame and frame[m].notna().any()), None)


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


def _figures(
    frame: pd.DataFrame, row: pd.Series, target: str, asked: Sequence[MetricRef]
) -> dict[MetricRef, float]:
    usual = [_column(frame, name, target) for name in _USUAL]
    wanted = [m for m in (*usual, *asked) if m is not None]
    return {m: float(row[m]) for m in wanted if m in row and pd.notna(row[m])}


def _is_steady(frame: pd.DataFrame, row: pd.Series, target: str) -> bool | None:
    time = _column(frame, "latency_p50_ms", target)
    if time is None or pd.isna(row[time]):
        return None
    flag = row.get(MetricRef("unsteady", target))
    return flag is None or pd.isna(flag) or not flag


def _stands(within: pd.DataFrame, wer: MetricRef, cost: MetricRef, number: int) -> int:
    """How many trials have ended within the limits since it became the answer."""
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
