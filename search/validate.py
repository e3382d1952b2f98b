"""Checks a space against its data and by exporting its smallest and largest students."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from search.budgets import excesses, metrics_of
from search.launch import threads_of
from search.tables import shown
from spaces.points import count, extreme_values, recipe_of, sized_values
from spaces.recipe import Recipe
from spaces.space import Space
from workers.compress.dims import pruned_dims
from workers.data.prepare import DataReport, Progress, check_data, fault_lines, prepare
from workers.errors import UserFault
from workers.jobs import Place, Screen
from workers.teacher import load_teacher
from workers.trial import do_screen, fresh_network

_TIMED_EPOCH_SHARE = 0.15


@dataclass(frozen=True)
class Extreme:
    """One end of a family: its student and what was measured of it, untrained."""

    which: str
    recipe: Recipe
    metrics: dict[str, float]
    broken: tuple[str, ...]
    unseen: tuple[str, ...] = ()  # targets on which it was not measured, and why


@dataclass(frozen=True)
class SpaceReport:
    data: DataReport
    extremes: tuple[Extreme, ...]
    epoch_s: float | None  # CPU seconds of one epoch of a middling student
    teacher_epoch_s: float | None
    teacher_fault: str | None = None

    @property
    def is_sound(self) -> bool:
        return not (self.data.refused or self.teacher_fault or self.impossible())

    def impossible(self) -> bool:
        """Whether no end of any family meets the budgets that can be known untrained."""
        return bool(self.extremes) and all(e.broken for e in self.extremes)


def count_lines(space: Space) -> list[str]:
    families = ", ".join(space.students)
    return [
        f"space: {count(space)}; families: {families}",
        f"search: {space.search.trials} trials by {space.search.sampler}, "
        f"{space.search.parallel} at a time; objectives: {', '.join(space.objectives)}",
        "budgets: " + (", ".join(map(str, space.budget_list())) or "none"),
    ]


def check_space(space: Space, place: Place, progress: Progress) -> SpaceReport:
    """Read the data whole; then export the ends of each family and time an epoch."""
    report, _, _ = check_data(space, place.cache, progress)
    teacher_fault = _teacher_fault(space)
    if report.refused or teacher_fault:
        return SpaceReport(report, (), None, None, teacher_fault)
    from workers.data.batches import Corpus

    folder, _ = prepare(space, place.cache, progress)
    corpus = Corpus(folder)
    extremes = []
    total = 2 * len(space.students)
    for i, family in enumerate(space.students):
        for j, smallest in enumerate((True, False)):
            progress("exporting the ends of the space", 2 * i + j, total)
            extremes.append(_measured(space, family, smallest, corpus, place))
    progress("exporting the ends of the space", total, total)
    epoch_s = [_epoch_s(recipe_of(sized_values(space, f, 0.5)), corpus) for f in space.students]
    teacher_s = None
    if space.teacher.train is not None:
        trained = space.teacher.train
        teacher_s = _epoch_s(Recipe(student=trained.student, training=trained.training), corpus)
    return SpaceReport(report, tuple(extremes), sum(epoch_s) / len(epoch_s), teacher_s)


def _teacher_fault(space: Space) -> str | None:
    """What is wrong with a teacher that the user brings."""
    if space.teacher.train is not None:
        return None
    try:
        load_teacher(space.teacher)
    except UserFault as error:
        return str(error)
    return None


def _measured(space: Space, family: str, smallest: bool, corpus: object, place: Place) -> Extreme:
    recipe = recipe_of(extreme_values(space, family, smallest))
    job = Screen(
        student=pruned_dims(recipe.student, recipe.prune.ratio),
        quantize=recipe.quantize,
        corpus=corpus.folder.name,  # type: ignore[attr-defined]
        targets=space.targets,
    )
    with tempfile.TemporaryDirectory() as work:
        result = do_screen(job, place, None, Path(work))  # type: ignore[arg-type]
    metrics = metrics_of(space, result.figures)
    unseen = tuple(f"{n}: {why}" for n, why in result.facts["not_screened_on"].items())
    excess = excesses(space.budget_list(), metrics, {})
    broken = tuple(text for text, e in excess.items() if e > 0)
    which = f"{'smallest' if smallest else 'largest'} {family}"
    return Extreme(which, recipe, metrics, broken, unseen)


def _epoch_s(recipe: Recipe, corpus: object) -> float:
    """CPU seconds of an epoch, from some of its batches."""
    import numpy as np
    import torch

    from workers.data.batches import Corpus, epoch_plan, load_batch
    from workers.train.loop import Trainer

    assert isinstance(corpus, Corpus)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    plan = epoch_plan(corpus, recipe.training.batch_s, rng)
    few = plan[: max(3, round(len(plan) * _TIMED_EPOCH_SHARE))]
    with tempfile.TemporaryDirectory() as work:
        network = fresh_network(recipe.student, corpus)
        trainer = Trainer(network, corpus, recipe.training, 0, Path(work))
        network.train()
        trainer.step(load_batch(corpus, few[0]), 0.5, rng)
        start = time.process_time()
        for items in few:
            trainer.step(load_batch(corpus, items), 0.5, rng)
        spent = time.process_time() - start
    return spent / len(few) * len(plan)


def data_lines(report: SpaceReport) -> list[str]:
    out = ["data: " + line for line in report.data.lines()[: len(report.data.splits) + 1]]
    if report.data.unknown_characters:
        out.append(f"characters outside the token set: {' '.join(report.data.unknown_characters)}")
    out += fault_lines(report.data.faults)
    refused = (report.data.refused, report.teacher_fault)
    return out + [f"REFUSED: {reason}" for reason in refused if reason]


def cost_lines(space: Space, report: SpaceReport) -> list[str]:
    out = []
    for end in report.extremes:
        figures = ", ".join(
            shown(m, end.metrics.get(m)) for m in ("params", "size_mb", "latency_p95_ms", "macs")
        )
        verdict = f"breaks {', '.join(end.broken)}" if end.broken else "within the budgets"
        verdict += "".join(f"; not measured on {target}" for target in end.unseen)
        out.append(f"{end.which}: {figures}: {verdict}")
    if report.impossible():
        out.append("IMPOSSIBLE: no end of any family is within the budgets; widen one or the other")
    if report.epoch_s is not None:
        out += _time_lines(space, report)
    return out


def _time_lines(space: Space, report: SpaceReport) -> list[str]:
    assert report.epoch_s is not None
    family = next(iter(space.students))
    epochs = recipe_of(sized_values(space, family, 0.5)).training.epochs
    trial_s = report.epoch_s * epochs
    total_s = trial_s * space.search.trials / space.search.parallel
    out = [
        f"time: a middling trial about {trial_s:.0f} CPU s ({epochs} epochs of "
        f"{report.epoch_s:.1f} s); {space.search.trials} trials about {total_s / 60:.0f} min, "
        f"{space.search.parallel} at a time"
    ]
    if report.teacher_epoch_s is not None and space.teacher.train is not None:
        epochs = space.teacher.train.training.epochs
        threads = threads_of(space, False)[1]
        minutes = report.teacher_epoch_s * epochs / threads / 60
        out.append(f"      the teacher first, about {minutes:.0f} min on {threads} threads")
    return out
