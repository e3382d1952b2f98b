"""The front: trials that nothing beats in every objective."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import moocore
import numpy as np

from search.budgets import objective_values
from search.errors import UsageFault
from spaces.metrics import metric_named
from spaces.space import Space
from storage.records import Trial, TrialState


def _signed(space: Space, trials: Sequence[Trial], deterministic: bool) -> np.ndarray:
    """float [n, objectives], all to be minimised."""
    signs = [-1.0 if metric_named(o).higher_is_better else 1.0 for o in space.objectives]
    rows = [objective_values(space, t.metrics, deterministic) for t in trials]
    return np.array(rows, float).reshape(len(trials), len(signs)) * signs


def front(space: Space, trials: Sequence[Trial], deterministic: bool = False) -> list[Trial]:
    """The Pareto set of the complete trials, by the first objective.

    Of trials equal in all objectives the first is kept.
    """
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    if not complete:
        return []
    points = _signed(space, complete, deterministic)
    best = moocore.is_nondominated(points)
    chosen = [t for t, is_best in zip(complete, best, strict=True) if is_best]
    return sorted(chosen, key=lambda t: objective_values(space, t.metrics, deterministic))


def hypervolume(
    space: Space,
    trials: Sequence[Trial],
    reference: Mapping[str, float],
    deterministic: bool = False,
) -> float:
    """Share of the box between zero and the reference that the front dominates, 0 to 1.

    Timed objectives are taken on a logarithmic scale from a thousandth of the reference on, so
    that no objective drowns the others. The reference is the teacher, with a WER of 1.
    """
    on_front = front(space, trials, deterministic)
    if not on_front:
        return 0.0
    rows = []
    for trial in on_front:
        rows.append([_share(o, trial.metrics[o], reference[o]) for o in space.objectives])
    inside = np.array([r for r in rows if max(r) < 1.0])
    if not len(inside):
        return 0.0
    return float(moocore.hypervolume(inside, ref=np.ones(len(space.objectives))))


def reference_of(
    space: Space, trials: Sequence[Trial], teacher: Mapping[str, float]
) -> dict[str, float]:
    """Where the hypervolume is seen from: the teacher's cost, every word wrong.

    What the teacher was not measured in is the worst of the trials.
    """
    reference = {}
    for objective in space.objectives:
        values = [t.metrics[objective] for t in trials if objective in t.metrics]
        metric = metric_named(objective)
        worst = min(values) if metric.higher_is_better else max(values, default=1.0)
        is_errors = metric.name in ("wer", "cer")
        reference[objective] = 1.0 if is_errors else teacher.get(objective, worst)
    return reference


def _share(objective: str, value: float, reference: float) -> float:
    reference = max(reference, 1e-12)
    if metric_named(objective).higher_is_better:
        value, reference = 1 / max(value, 1e-12), 1 / max(reference, 1e-12)
    if metric_named(objective).name in ("wer", "cer"):
        return value / reference
    return float(np.clip(np.log10(max(value, 1e-12) / (reference / 1000)) / 3, 0.0, None))


def knee(space: Space, on_front: Sequence[Trial], deterministic: bool = False) -> Trial | None:
    """The point of the front nearest the ideal, objectives scaled to the front's own range.

    None for fronts of fewer than three points, which have no bend.
    """
    if len(on_front) < 3:
        return None
    points = _signed(space, on_front, deterministic)
    span = np.maximum(np.ptp(points, axis=0), 1e-12)
    distance = np.linalg.norm((points - points.min(0)) / span, axis=1)
    return on_front[int(distance.argmin())]


_TERM = re.compile(r"^\s*([a-z0-9_@.\-]+)\s*(<=|>=|<|>)\s*(-?[0-9.]+(?:e-?\d+)?)\s*(%?)\s*$", re.I)


def parse_where(text: str) -> list[tuple[str, str, float]]:
    """Terms of a condition such as `size_mb<=15 and latency_p95_ms<=50`.

    Raises:
        UsageFault: naming the term that is wrong.
    """
    terms = []
    for part in re.split(r"\s+and(?:\s+|$)|,|&&", text):
        match = _TERM.match(part)
        if match is None:
            raise UsageFault(
                f'--where: "{part.strip()}" is no condition; write for example '
                '"size_mb<=15 and latency_p95_ms<=50"'
            )
        name, sign, number, percent = match.groups()
        _known(name)
        try:
            limit = float(number)
        except ValueError as error:
            raise UsageFault(f'--where: "{number}" is no number') from error
        terms.append((name, sign, limit / 100 if percent else limit))
    return terms


def _known(name: str) -> None:
    try:
        metric_named(name)
    except ValueError as error:
        raise UsageFault(str(error)) from error


def meets(trial: Trial, terms: Sequence[tuple[str, str, float]]) -> bool:
    """Whether a trial's metrics meet all terms; a metric it has not does not."""
    for name, sign, limit in terms:
        value = trial.metrics.get(name)
        if value is None:
            return False
        holds = {"<=": value <= limit, ">=": value >= limit, "<": value < limit, ">": value > limit}
        if not holds[sign]:
            return False
    return True


def _nearest_miss(trials: Sequence[Trial], name: str, sign: str) -> str:
    values = [t.metrics[name] for t in trials if name in t.metrics]
    if not values:
        return "not measured"
    return f"best is {min(values) if '<' in sign else max(values):.4g}"


def best(trials: Sequence[Trial], metric: str, where: str | None = None) -> Trial:
    """The complete trial best in one metric among those that meet a condition.

    Raises:
        UsageFault: when none does, naming the nearest miss.
    """
    _known(metric)
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    if not complete:
        raise UsageFault("the study has no complete trial yet")
    measured = [t for t in complete if metric in t.metrics]
    if not measured:
        known = ", ".join(complete[0].metrics)
        raise UsageFault(f"{metric} was not measured in this study (measured: {known})")
    terms = parse_where(where) if where else []
    fitting = [t for t in measured if meets(t, terms)]
    sign = -1 if metric_named(metric).higher_is_better else 1
    if not fitting:
        misses = [f"{name}: {_nearest_miss(measured, name, s)}" for name, s, _ in terms]
        raise UsageFault(f"no complete trial meets {where} ({'; '.join(misses)})")
    return min(fitting, key=lambda t: (sign * t.metrics[metric], t.number))
