"""Metrics, objectives and budgets of a trial, from its readings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from search.policy import Policy
from spaces.gates import GateResult
from spaces.metrics import MetricRef
from spaces.space import Budget, Space
from workers.results import Reading

Metrics = dict[str, float]  # by `MetricRef`, or its text


def metrics_of(space: Space, readings: Iterable[Reading]) -> Metrics:
    """Readings by metric; those of the first target also without its name."""
    metrics: Metrics = {}
    for reading in readings:
        metric = MetricRef(reading.metric)
        if reading.target:
            metrics[metric.on(reading.target)] = reading.value
        if reading.target in ("", space.first_target):
            metrics[metric] = reading.value
    return metrics


def judged_metrics(objectives: Sequence[MetricRef], policy: Policy) -> list[MetricRef]:
    """What stands for each objective."""
    return [policy.proxy_metric(objective) for objective in objectives]


def signs(metrics: Iterable[MetricRef]) -> list[float]:
    """1 where less is better, -1 where more is."""
    return [-1.0 if metric.known.higher_is_better else 1.0 for metric in metrics]


def objective_values(
    space: Space, metrics: Mapping[str, float], policy: Policy
) -> tuple[float, ...]:
    """What the sampler is told, in the order and direction of the objectives."""
    values = []
    for objective in space.objectives:
        judged = policy.proxy_metric(objective)
        turned = objective.known.higher_is_better != judged.known.higher_is_better
        values.append(-metrics[judged] if turned else metrics[judged])
    return tuple(values)


def violations(
    budgets: Iterable[Budget], metrics: Mapping[str, float], teacher: Mapping[str, float]
) -> dict[str, float]:
    """How far each budget is violated, by its text; 0 or less where it is met.

    Budgets on metrics that are not known yet are left out.
    """
    out = {}
    for budget in budgets:
        value = metrics.get(budget.metric)
        if value is None:
            continue
        excess = budget.excess(value, teacher.get(budget.metric))
        if excess is not None:
            out[str(budget)] = excess
    return out


def violation_message(
    excess: Mapping[str, float],
    metrics: Mapping[str, float],
    budgets: Iterable[Budget],
    gates: Iterable[GateResult] = (),
) -> str | None:
    """A sentence on the budgets and gates that are violated, or None."""
    by_text = {str(b): b for b in budgets}
    violated = [
        f"{text} (is {metrics[by_text[text].metric]:.4g})" for text, e in excess.items() if e > 0
    ]
    violated += [f"{gate.text} ({gate.message})" for gate in gates if gate.excess > 0]
    return "breaks " + " and ".join(violated) if violated else None
