"""Trials that are not worth training, known from their untrained student.

A student that breaks a hard budget is out. So is one that a finished trial would still beat in
every objective if it came to make as few errors as the teacher; that is rare, and cheap to ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.objectives import Metrics, metrics_of, violation_message, violations
from search.policy import Policy
from search.strategy.moves import Promote, Stop
from spaces.space import Space
from storage.records import Trial, TrialState
from workers.results import ScreenResult

_SCREEN_MARGIN = 0.2
_TIMING_MARGIN = 0.05  # a timed figure must be this much worse to count as worse


def screen(
    space: Space,
    policy: Policy,
    teacher: Mapping[str, float],
    screened: ScreenResult,
    rivals: Sequence[Trial],
) -> Promote | Stop:
    """Whether a student is to be trained.

    Args:
        teacher: its metrics.
        rivals: the trials that may be compared with.
    """
    metrics = metrics_of(space, screened.readings)
    budgets = policy.budgets(space)
    excess = violations(budgets, metrics, teacher)
    for budget in budgets:  # a few runs tell a timed figure only roughly: the last word is later
        if str(budget) in excess and budget.metric.known.noisy:
            excess[str(budget)] -= _SCREEN_MARGIN * abs(metrics[budget.metric])
    reason = violation_message(excess, metrics, budgets)
    if reason is not None:
        return Stop(reason)
    for rival in rivals:
        is_complete = rival.state is TrialState.COMPLETE
        if is_complete and _is_beaten(space, policy, teacher, metrics, rival):
            return Stop(f"trial {rival.number} would beat it even at the teacher's error rate")
    return Promote()


def _is_beaten(
    space: Space, policy: Policy, teacher: Mapping[str, float], metrics: Metrics, rival: Trial
) -> bool:
    """Whether the rival is better in every objective, the student's errors taken as the
    teacher's."""
    for objective in space.objectives:
        judged = policy.proxy_metric(objective)
        known = judged.known
        mine = metrics.get(judged) if known.known_untrained else teacher.get(judged)
        theirs = rival.metrics.get(judged)
        if mine is None or theirs is None:
            return False
        if known.higher_is_better:
            mine, theirs = -mine, -theirs
        margin = abs(mine) * _TIMING_MARGIN if known.noisy else 0.0
        if not theirs < mine - margin:
            return False
    return True
