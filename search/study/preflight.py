"""Checks a space against its data and by exporting its smallest and largest students."""

from __future__ import annotations

from dataclasses import dataclass

from search.errors import StudyFault
from search.executors.base import Executor
from search.executors.waiting import outcome_of, result_of
from search.objectives import Metrics, metrics_of, violations
from search.study.ends import ends_of, hopeless
from search.study.host import host_digest, versions_of
from search.study.pipeline import screen_job
from spaces.points import recipe_of
from spaces.recipe import Recipe
from spaces.sizes import sized_values
from spaces.space import Space
from workers.data.check import DataReport, check_data
from workers.data.prepare import prepare
from workers.data.reading import Progress
from workers.errors import TeacherFault
from workers.jobs import CheckTeacher, Rehearse
from workers.results import RehearseResult, ScreenResult
from workers.teachers.imported import check_files
from workers.workspace import Workspace


@dataclass(frozen=True)
class Extreme:
    """One end of a family: its student and what was measured of it, untrained."""

    which: str
    recipe: Recipe
    metrics: Metrics
    violations: tuple[str, ...]
    not_screened_on: tuple[str, ...] = ()  # targets, and why


@dataclass(frozen=True)
class SpaceReport:
    """What a space is before anything of it is trained."""

    data: DataReport
    extremes: tuple[Extreme, ...]
    epoch_s: float | None  # CPU seconds of one epoch of a middling student
    teacher_epoch_s: float | None
    teacher_fault: str | None = None
    hopeless: tuple[str, ...] = ()  # budgets that no student can meet

    @property
    def is_sound(self) -> bool:
        return not (self.data.refused or self.teacher_fault or self.hopeless)


def check_space(
    space: Space,
    workspace: Workspace,
    executor: Executor,
    progress: Progress,
    sample: int | None = None,
) -> SpaceReport:
    """Read the data; then export the ends of each family and time an epoch.

    Args:
        sample: read only so many items of each list, evenly over it; None for all.

    Raises:
        StudyFault: when the tools fail.
    """
    factor = space.contract.subsampling_factor
    report, _, _ = check_data(space.data, space.tokens, factor, workspace.cache, progress, sample)
    teacher_fault = _teacher_fault(space, executor)
    if report.refused or teacher_fault:
        return SpaceReport(report, (), None, None, teacher_fault)
    corpus, _ = prepare(space.data, space.tokens, factor, workspace.cache, progress, sample)
    ends = ends_of(space)
    extremes = []
    for i, (end, recipe) in enumerate(ends.items()):
        progress("exporting the ends of the space", i, len(ends))
        extremes.append(_extreme(space, end, recipe, corpus.name, executor))
    progress("exporting the ends of the space", len(ends), len(ends))
    middling = [recipe_of(sized_values(space, family, 0.5)) for family in space.trained_families]
    epoch_s = [_epoch_s(recipe, corpus.name, executor) for recipe in middling]
    teacher_s = None
    if space.teacher.train is not None:
        trained = space.teacher.train
        recipe = Recipe(student=trained.student, training=trained.training)
        teacher_s = _epoch_s(recipe, corpus.name, executor)
    return SpaceReport(
        report,
        tuple(extremes),
        sum(epoch_s) / len(epoch_s) / report.train_share if epoch_s else None,
        None if teacher_s is None else teacher_s / report.train_share,
        hopeless=tuple(map(str, hopeless(space.budgets, [e.metrics for e in extremes]))),
    )


def _teacher_fault(space: Space, executor: Executor) -> str | None:
    """What is wrong with a teacher that the user brings."""
    for i, source in enumerate((space.teacher, *space.teacher.also)):
        if source.train is not None:
            continue
        where = f"teacher.also.{i - 1}" if i else "teacher"
        try:
            check_files(source)
        except TeacherFault as fault:
            return f"{where}: {fault}"
        outcome = outcome_of(CheckTeacher(source=source), executor)
        if outcome.result is None and not outcome.is_user_fault:
            raise StudyFault(outcome.error or "failed", False, outcome.log)
        if outcome.error is not None:
            return outcome.error if not i else f"{where}: {outcome.error}"
    return None


def _extreme(space: Space, end: str, recipe: Recipe, corpus: str, executor: Executor) -> Extreme:
    job = screen_job(space, host_digest(versions_of(space)), corpus, recipe, end=end)
    result = result_of(job, executor)
    assert isinstance(result, ScreenResult)
    metrics = metrics_of(space, result.readings)
    excess = violations(space.budgets, metrics, {})
    return Extreme(
        which=end,
        recipe=recipe,
        metrics=metrics,
        violations=tuple(text for text, e in excess.items() if e > 0),
        not_screened_on=tuple(f"{n}: {why}" for n, why in result.not_screened_on.items()),
    )


def _epoch_s(recipe: Recipe, corpus: str, executor: Executor) -> float:
    """CPU seconds of an epoch."""
    heard = recipe.student.front_end.heard(corpus)
    job = Rehearse(student=recipe.student, training=recipe.training, corpus=heard)
    result = result_of(job, executor)
    assert isinstance(result, RehearseResult)
    return result.epoch_s
