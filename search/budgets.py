"""Budgets and objectives of a trial, from its measured metrics.

Metrics are named `latency_p95_ms`; of a target other than the first, `latency_p95_ms@pi5`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spaces.gates import Judged
from spaces.metrics import metric_named
from spaces.space import Budget, Space
from workers.jobs import Figure

Metrics = dict[str, float]


def metrics_of(space: Space, figures: Iterable[Figure]) -> Metrics:
    """Figures by metric name; those of the first target also without its name."""
    first = next(iter(space.targets))
    metrics: Metrics = {}
    for figure in figures:
        if figure.target:
            metrics[f"{figure.metric}@{figure.target}"] = figure.value
        if figure.target in ("", first):
            metrics[figure.metric] = figure.value
    return metrics


def judged_as(name: str, deterministic: bool) -> str:
    """The metric that stands in for an objective when figures that vary must not decide."""
    return "macs" if deterministic and metric_named(name).noisy else name


def objective_values(
    space: Space, metrics: Mapping[str, float], deterministic: bool
) -> tuple[float, ...]:
    """What the sampler is told, in the order and direction of the objectives.

    In a deterministic study MACs stand in for what is timed: they order students as time does,
    roughly, and are the same in every run.
    """
    values = []
    for name in space.objectives:
        judged = judged_as(name, deterministic)
        value = metrics[judged]
        turned = metric_named(name).higher_is_better != metric_named(judged).higher_is_better
        values.append(-value if turned else value)
    return tuple(values)


def enforced_budgets(space: Space, deterministic: bool) -> tuple[Budget, ...]:
    """The budgets that decide. What varies from run to run decides nothing in a deterministic
    study, or two runs of it could not end alike."""
    return tuple(
        b for b in space.budget_list() if not (deterministic and metric_named(b.metric).noisy)
    )


def timed_gates_decide(deterministic: bool) -> bool:
    """For the same reason."""
    return not deterministic


def excesses(
    budgets: Iterable[Budget], metrics: Mapping[str, float], teacher: Mapping[str, float]
) -> dict[str, float]:
    """How far each budget is broken, by its text; 0 or less where it is met.

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


def broken(
    excess: Mapping[str, float],
    metrics: Mapping[str, float],
    budgets: Iterable[Budget],
    gates: Iterable[Judged] = (),
) -> str | None:
    """A sentence on the budgets and gates that are broken, or None."""
    by_text = {str(b): b for b in budgets}
    said = [
        f"{text} (is {metrics[by_text[text].metric]:.4g})" for text, e in excess.items() if e > 0
    ]
    said += [f"{gate.text} ({gate.said})" for gate in gates if gate.excess > 0]
    return "breaks " + " and ".join(said) if said else None
