"""Which trials meet limits, and which of them is best."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from search.analysis.front_chance import not_told_apart
from search.errors import UsageFault
from search.objectives import signs
from spaces.metrics import MetricRef
from storage.records import TrialState

_SIGNS: dict[str, Callable[[pd.Series, float], pd.Series]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_LIMIT = re.compile(
    r"^\s*([a-z0-9_@.\-]+)\s*(<=|>=|<|>)\s*(-?[0-9.]+(?:e-?\d+)?)\s*(%?)\s*$", re.IGNORECASE
)


@dataclass(frozen=True)
class Limit:
    """One condition on a metric."""

    metric: MetricRef
    sign: str
    value: float


def parse_where(text: str) -> list[Limit]:
    """Limits such as `size_mb<=15 and latency_p95_ms<=50`.

    Raises:
        UsageFault: naming the one that is wrong.
    """
    limits = []
    for part in re.split(r"\s+and(?:\s+|$)|,|&&", text):
        match = _LIMIT.match(part)
        if match is None:
            raise UsageFault(
                f'--where: "{part.strip()}" is not a condition; write for example '
                '"size_mb<=15 and latency_p95_ms<=50"'
            )
        name, sign, number, percent = match.groups()
        metric = _known(name)
        try:
            value = float(number)
        except ValueError as error:
            raise UsageFault(f'--where: "{number}" is not a number') from error
        limits.append(Limit(metric, sign, value / 100 if percent else value))
    return limits


def limits_of(given: Mapping[str, float]) -> list[Limit]:
    """At most, or at least where more is better."""
    metrics = {MetricRef.of(name): value for name, value in given.items()}
    return [
        Limit(metric, ">=" if metric.known.higher_is_better else "<=", value)
        for metric, value in metrics.items()
    ]


def _known(name: str) -> MetricRef:
    try:
        return MetricRef.parse(name)
    except ValueError as error:
        raise UsageFault(str(error)) from error


def fits(frame: pd.DataFrame, limits: Sequence[Limit]) -> pd.Series:
    """Which trials are within all limits; one that has no such figure is not."""
    inside = pd.Series(True, index=frame.index)
    for limit in limits:
        if limit.metric in frame:
            inside &= _SIGNS[limit.sign](frame[limit.metric], limit.value)
        else:
            inside &= False
    return inside


def best_number(frame: pd.DataFrame, metric: MetricRef, limits: Sequence[Limit] = ()) -> int | None:
    """The complete trial best in a metric among those within limits. Where chance may have set
    others apart from it, those of the front come first."""
    if metric not in frame:
        return None
    inside = (frame["state"] == TrialState.COMPLETE) & fits(frame, limits)
    known = frame[inside].dropna(subset=[metric])
    if known.empty:
        return None
    values = known[metric].to_numpy(float) * signs([metric])[0]
    tied = known[not_told_apart(known, metric, int(values.argmin()))]
    best = tied[tied["on_front"]] if tied["on_front"].any() else tied
    return int(best["number"].iloc[int((best[metric] * signs([metric])[0]).argmin())])


def best_trial(frame: pd.DataFrame, metric: str, where: str | None = None) -> int:
    """The number of the complete trial best in one metric among those that meet a condition.

    Raises:
        UsageFault: when none does, naming the nearest miss.
    """
    wanted = _known(metric)
    complete = frame[frame["state"] == TrialState.COMPLETE]
    if complete.empty:
        raise UsageFault("the study has no complete trial yet")
    if wanted not in complete or complete[wanted].isna().all():
        known = [c for c in complete.columns if MetricRef.of(str(c)).is_known]
        raise UsageFault(f"{metric} was not measured in this study (measured: {', '.join(known)})")
    limits = parse_where(where) if where else []
    number = best_number(frame, wanted, limits)
    if number is None:
        misses = "; ".join(nearest_misses(complete, limits))
        raise UsageFault(f"no complete trial meets {where} ({misses})")
    return number


def nearest_misses(complete: pd.DataFrame, limits: Sequence[Limit]) -> list[str]:
    """The best there is of each metric on which there is a limit, in words."""
    return [f"{limit.metric}: {_nearest_miss(complete, limit)}" for limit in limits]


def _nearest_miss(complete: pd.DataFrame, limit: Limit) -> str:
    values = complete[limit.metric].dropna() if limit.metric in complete else pd.Series(dtype=float)
    if values.empty:
        return "not measured"
    return f"best is {values.min() if '<' in limit.sign else values.max():.4g}"
