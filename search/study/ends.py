"""The ends of a space, untrained: whether any student can meet its budgets is known before a
teacher is trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from search.errors import StudyFault
from search.objectives import Metrics, metrics_of
from search.policy import Policy
from search.results import TrialResults
from search.study.pipeline import screen_job
from search.study.settings import StudySettings
from spaces.points import recipe_of
from spaces.recipe import Recipe
from spaces.sizes import extreme_values
from spaces.space import Budget, Space
from workers.jobs import Screen
from workers.results import ScreenResult

# The ends are those of size: of students between them some may be faster than either, and a few
# runs tell a time only roughly. A limit of less than half of what both ends take is out of reach.
_TIMED_MARGIN = 0.5


def ends_of(space: Space) -> dict[str, Recipe]:
    """The smallest and the largest student of each family, by what they are."""
    return {
        f"{'smallest' if smallest else 'largest'} {family}": recipe_of(
            extreme_values(space, family, smallest)
        )
        for family in space.trained_families
        for smallest in (True, False)
    }


def next_end(
    space: Space,
    settings: StudySettings,
    policy: Policy,
    results: TrialResults,
    unavailable_targets: Collection[str],
) -> Screen | None:
    """The next end to look at, of a study whose data are ready; None when enough is known.

    Raises:
        StudyFault: when no student can meet the budgets.
    """
    assert results.prepare is not None
    is_known = any(budget.metric.known.known_untrained for budget in policy.budgets(space))
    if not space.trained_families or not is_known:
        return None
    seen: dict[str, Metrics] = {}
    unmet: list[Budget] = []
    for end, recipe in ends_of(space).items():
        if end not in results.ends:
            corpus, host = results.prepare.corpus, settings.host
            without = {*unavailable_targets, *settings.not_screened}
            return screen_job(space, host, corpus, recipe, without, end)
        found = results.ends[end]
        if not isinstance(found, ScreenResult):
            return None
        seen[end] = metrics_of(space, found.readings)
        unmet = hopeless(policy.budgets(space), list(seen.values()))
        if not unmet:
            return None
    raise StudyFault(_refusal(unmet, seen), is_user_fault=True)


def hopeless(budgets: Collection[Budget], ends: Sequence[Metrics]) -> list[Budget]:
    """The budgets that no end comes near; those that are not known untrained are not among
    them."""
    return [b for b in budgets if ends and all(_is_out_of_reach(b, end) for end in ends)]


def _is_out_of_reach(budget: Budget, metrics: Mapping[str, float]) -> bool:
    value = metrics.get(budget.metric)
    excess = None if value is None else budget.excess(value, None)
    if value is None or excess is None:
        return False
    return excess > (_TIMED_MARGIN * abs(value) if budget.metric.known.noisy else 0.0)


def _refusal(budgets: Collection[Budget], ends: Mapping[str, Metrics]) -> str:
    lines = [
        f"budgets: no student of this space can meet {budget}: "
        + ", ".join(f"the {end} has {metrics[budget.metric]:.4g}" for end, metrics in ends.items())
        for budget in budgets
    ]
    return "\n".join([*lines, "widen the budget, or let the space have other students"])
