"""Trials that are not worth training: their untrained student breaks a hard budget already, or is
outside the region that it was proposed for.

How few errors a student will make is not known then. That it cannot make fewer than its teacher
is no bound: students beat theirs here (16.0 against 16.5 % WER, 10.95 against 11.43 %), and a rule
that leaned on it let one lucky small student keep every larger one from being trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.objectives import Metrics, metrics_of, violation_message, violations
from search.policy import Policy
from search.strategy.focus import limits_of
from search.strategy.moves import Promote, Stop
from spaces.space import Budget, Space
from storage.records import Focus
from workers.results import ScreenResult

_SCREEN_MARGIN = 0.2


def screen(
    space: Space,
    policy: Policy,
    teacher: Mapping[str, float],
    screened: ScreenResult,
    focus: Focus | None = None,
) -> Promote | Stop:
    """Whether a student is to be trained.

    Args:
        teacher: its metrics.
        focus: the region that it is to lie in.
    """
    metrics = metrics_of(space, screened.readings)
    reason = _beyond(policy.budgets(space), metrics, teacher)
    if reason is None and focus is not None:
        outside = _beyond(limits_of(focus), metrics, teacher)
        reason = outside and f"outside the focus: {outside.removeprefix('breaks ')}"
    return Promote() if reason is None else Stop(reason)


def _beyond(limits: Sequence[Budget], metrics: Metrics, teacher: Mapping[str, float]) -> str | None:
    """Which limits an untrained student breaks, in words; None where it may meet them all."""
    excess = violations(limits, metrics, teacher)
    for limit in limits:  # a few runs tell a timed figure only roughly: the last word is later
        if str(limit) in excess and limit.metric.known.noisy:
            excess[str(limit)] -= _SCREEN_MARGIN * abs(metrics[limit.metric])
    return violation_message(excess, metrics, limits)
