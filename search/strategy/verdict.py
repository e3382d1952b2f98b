"""What a measured trial came to: complete, or infeasible with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.objectives import judged_metrics, objective_values, violation_message, violations
from search.policy import Policy
from spaces.gates import judge
from spaces.metrics import MetricRef
from spaces.space import Space
from storage.records import TrialState


@dataclass(frozen=True)
class Verdict:
    """State, reason and by how much each budget and gate is kept or broken."""

    state: TrialState
    reason: str | None
    constraints: Mapping[str, float]
    objective_values: tuple[float, ...]


def verdict(
    space: Space, policy: Policy, metrics: Mapping[str, float], teacher: Mapping[str, float]
) -> Verdict:
    """Judge a trial that was measured wholly: budgets, then gates."""
    budgets = policy.budgets(space)
    excess = violations(budgets, metrics, teacher)
    gates = judge(space.gate, metrics, teacher, tuple(space.targets), policy.timed_decides)
    reason = violation_message(excess, metrics, budgets, gates)
    return Verdict(
        state=TrialState.INFEASIBLE if reason else TrialState.COMPLETE,
        reason=reason,
        constraints=excess | {gate.text: gate.excess for gate in gates},
        objective_values=objective_values(space, metrics, policy),
    )


def deciding_metrics(space: Space, policy: Policy) -> list[MetricRef]:
    """The metrics that decide: objectives, then budgets."""
    judged = judged_metrics(space.objectives, policy)
    return list(dict.fromkeys([*judged, *(b.metric for b in policy.budgets(space))]))


def unmeasured(space: Space, policy: Policy, metrics: Mapping[str, float]) -> list[MetricRef]:
    """What decides and was not measured."""
    return [metric for metric in deciding_metrics(space, policy) if metric not in metrics]
