"""One measurement made of two sessions, apart in time."""

from __future__ import annotations

import math

from workers.measure.intervals import WITH_INTERVALS
from workers.results import MeasureResult, Reading


def of_both_sessions(first: MeasureResult, second: MeasureResult) -> MeasureResult:
    """The first, its timed figures the means of both (of their logarithms), their intervals as
    much narrower as two independent sessions are worth. Where one had no quiet, the other alone."""
    if bool(first.unsteady) != bool(second.unsteady):
        return second if first.unsteady else first
    ours = {r.metric: r for r in first.readings}
    theirs = {r.metric: r.value for r in second.readings}
    merged = dict(ours)
    for metric in WITH_INTERVALS & ours.keys() & theirs.keys():
        a, b = ours[metric].value, theirs[metric]
        if min(a, b) <= 0:
            continue
        value = math.sqrt(a * b)
        merged[metric] = ours[metric].model_copy(update={"value": value})
        merged |= _ends(metric, value, ours, theirs)
    return first.model_copy(update={"readings": tuple(merged.values())})


def _ends(
    metric: str, value: float, ours: dict[str, Reading], theirs: dict[str, float]
) -> dict[str, Reading]:
    low, high = f"{metric}_low", f"{metric}_high"
    if not {low, high} <= ours.keys() & theirs.keys():
        return {}
    widths = [math.log(ours[high].value / ours[low].value), math.log(theirs[high] / theirs[low])]
    factor = math.exp(
        math.hypot(*widths) / 4
    )  # the ends are two half widths apart, and the mean has half of both
    return {
        low: ours[low].model_copy(update={"value": value / factor}),
        high: ours[high].model_copy(update={"value": value * factor}),
    }
