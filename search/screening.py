"""Trials that are not worth training, known from their untrained student.

A student that breaks a hard budget is out. So is one that a finished trial would still beat in
every objective if it came to make as few errors as the teacher; that is rare, and cheap to ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.budgets import Metrics, broken, enforced_budgets, excesses, judged_as, metrics_of
from search.plan import Ground
from spaces.metrics import metric_named
from spaces.space import Space
from storage.records import Trial, TrialState
from workers.jobs import StageResult

_SCREEN_MARGIN = 0.2
_TIMING_MARGIN = 0.05  # a timed figure must be this much worse to count as worse


def reason_to_screen_out(
    space: Space,
    ground: Ground,
    screened: StageResult,
    rivals: Sequence[Trial],
    deterministic: bool,
) -> str | None:
    """Why a student should not be trained, or None."""
    metrics = metrics_of(space, screened.figures)
    budgets = enforced_budgets(space, deterministic)
    excess = excesses(budgets, metrics, ground.teacher_metrics)
    for budget in budgets:  # a few runs tell a timed figure only roughly: the last word is later
        if str(budget) in excess and metric_named(budget.metric).noisy:
            excess[str(budget)] -= _SCREEN_MARGIN * abs(metrics[budget.metric])
    reason = broken(excess, metrics, budgets)
    if reason is not None:
        return reason
    for rival in rivals:
        if rival.state is TrialState.COMPLETE and _beaten(
            space, ground.teacher_metrics, metrics, rival, deterministic
        ):
            return f"trial {rival.number} would beat it even at the teacher's error rate"
    return None


def _beaten(
    space: Space,
    teacher: Mapping[str, float],
    metrics: Metrics,
    rival: Trial,
    deterministic: bool,
) -> bool:
    """Whether the rival is better in every objective, the student's errors taken as the
    teacher's."""
    for objective in space.objectives:
        name = judged_as(objective, deterministic)
        metric = metric_named(name)
        mine = metrics.get(name) if metric.known_untrained else teacher.get(name)
        theirs = rival.metrics.get(name)
        if mine is None or theirs is None:
            return False
        if metric.higher_is_better:
            mine, theirs = -mine, -theirs
        margin = abs(mine) * _TIMING_MARGIN if metric.noisy else 0.0
        if not theirs < mine - margin:
            return False
    return True
