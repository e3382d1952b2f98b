"""Trials that are not worth training: their untrained student breaks a hard budget already.

How few errors a student will make is not known then. That it cannot make fewer than its teacher
is no bound: students beat theirs here (16.0 against 16.5 % WER, 10.95 against 11.43 %), and a rule
that leaned on it let one lucky small student keep every larger one from being trained.
"""

from __future__ import annotations

from collections.abc import Mapping

from search.objectives import metrics_of, violation_message, violations
from search.policy import Policy
from search.strategy.moves import Promote, Stop
from spaces.space import Space
from workers.results import ScreenResult

_SCREEN_MARGIN = 0.2


def screen(
    space: Space,
    policy: Policy,
    teacher: Mapping[str, float],
    screened: ScreenResult,
) -> Promote | Stop:
    """Whether a student is to be trained.

    Args:
        teacher: its metrics.
    """
    metrics = metrics_of(space, screened.readings)
    budgets = policy.budgets(space)
    excess = violations(budgets, metrics, teacher)
    for budget in budgets:  # a few runs tell a timed figure only roughly: the last word is later
        if str(budget) in excess and budget.metric.known.noisy:
            excess[str(budget)] -= _SCREEN_MARGIN * abs(metrics[budget.metric])
    reason = violation_message(excess, metrics, budgets)
    return Promote() if reason is None else Stop(reason)
