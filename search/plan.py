"""Which job comes next for a trial, and for the study before its trials: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.budgets import metrics_of
from spaces.recipe import Quantize, Recipe
from spaces.space import Space
from workers.compress.dims import pruned_dims
from workers.jobs import Compress, Export, Job, Listen, Measure, Prepare, Screen, StageResult, Train

Results = Mapping[str, StageResult]  # by stage


@dataclass(frozen=True)
class StudyFacts:
    """What every trial of a study builds on."""

    space_yaml: str
    space_path: str
    seed: int
    threads: int
    teacher_threads: int
    host: str  # digest of machine and runtime, for what is timed
    brought: Mapping[
        str, str
    ]  # digests of teacher files that the user brought: checkpoint, model, tokens


@dataclass(frozen=True)
class Ground:
    """What the study's own stages made."""

    corpus: str
    teacher: str
    teacher_texts: str | None
    teacher_metrics: Mapping[str, float]


def next_study_job(space: Space, facts: StudyFacts, results: Results) -> Job | None:
    """The next stage of the study itself: its data, then its teacher; None when it is ready."""
    if "prepare" not in results:
        return Prepare(space_yaml=facts.space_yaml, space_path=facts.space_path)
    corpus = str(results["prepare"].facts["corpus"])
    config = space.teacher
    checkpoint = facts.brought.get("checkpoint")
    if config.train is not None:
        if "train" not in results:
            return Train(
                student=config.train.student,
                training=config.train.training,
                corpus=corpus,
                seed=facts.seed,
                threads=facts.teacher_threads,
            )
        checkpoint = results["train"].artifacts["checkpoint"]
    model, tokens = facts.brought.get("model"), facts.brought.get("tokens")
    if checkpoint is not None:
        if "export" not in results:
            return Export(checkpoint=checkpoint, quantize=Quantize(), corpus=corpus)
        model = results["export"].artifacts["model"]
        tokens = results["export"].artifacts["tokens"]
    if model is not None and "measure" not in results:
        return Measure(
            host=facts.host, model=model, tokens=tokens, corpus=corpus, targets=space.targets
        )
    if "listen" not in results:
        return Listen(
            space_yaml=facts.space_yaml,
            space_path=facts.space_path,
            corpus=corpus,
            threads=facts.teacher_threads,
            checkpoint=checkpoint,
            model=facts.brought.get("model"),
            tokens=facts.brought.get("tokens"),
            source_digest=facts.brought.get("folder", ""),
        )
    return None


def ground_of(space: Space, results: Results) -> Ground:
    """What trials need of the study's finished stages."""
    scored = results.get("measure") or results["listen"]
    figures = [
        f
        for stage in ("export", "listen", "measure")
        if stage in results
        for f in results[stage].figures
    ]
    return Ground(
        corpus=str(results["prepare"].facts["corpus"]),
        teacher=str(results["listen"].facts["teacher"]),
        teacher_texts=scored.artifacts.get("texts"),
        teacher_metrics=metrics_of(space, figures),
    )


def next_trial_job(
    space: Space, facts: StudyFacts, ground: Ground, recipe: Recipe, results: Results
) -> Job | None:
    """The next stage of a trial; None when it has been measured."""
    teacher = ground.teacher if recipe.distil.weight > 0 else None
    if "screen" not in results:
        return Screen(
            host=facts.host,
            student=pruned_dims(recipe.student, recipe.prune.ratio),
            quantize=recipe.quantize,
            corpus=ground.corpus,
            targets=space.targets,
        )
    if "train" not in results:
        return Train(
            student=recipe.student,
            training=recipe.training,
            distil=recipe.distil,
            teacher=teacher,
            corpus=ground.corpus,
            seed=facts.seed,
            threads=facts.threads,
        )
    trained = results["train"]
    if recipe.prune.ratio > 0:
        if "compress" not in results:
            return Compress(
                checkpoint=trained.artifacts["checkpoint"],
                ratio=recipe.prune.ratio,
                training=recipe.training.model_copy(update={"epochs": recipe.prune.epochs}),
                distil=recipe.distil,
                teacher=teacher,
                corpus=ground.corpus,
                seed=facts.seed,
                threads=facts.threads,
            )
        trained = results["compress"]
    if "export" not in results:
        return Export(
            checkpoint=trained.artifacts["checkpoint"],
            quantize=recipe.quantize,
            corpus=ground.corpus,
        )
    if "measure" not in results:
        return Measure(
            host=facts.host,
            model=results["export"].artifacts["model"],
            corpus=ground.corpus,
            targets=space.targets,
            teacher_texts=ground.teacher_texts,
        )
    return None
