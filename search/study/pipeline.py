"""Which stage comes next for a trial, and for the study before its trials: pure functions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from search.objectives import metrics_of
from search.results import TrialResults, onnx_model, readings_of
from search.study.settings import StudyContext, StudySettings
from spaces.backends import backend_info
from spaces.metrics import MetricRef
from spaces.recipe import Quantize, Recipe
from spaces.space import Runtime, Space
from workers.data.prepare import augmentations_of
from workers.jobs import (
    Compress,
    Convert,
    Export,
    Extra,
    Job,
    Measure,
    Prepare,
    Score,
    Screen,
    TeacherTargets,
    Train,
)
from workers.results import ConvertResult, Model, ScoreResult, Unavailable


@dataclass(frozen=True)
class Submit:
    """A job is next."""

    job: Job


@dataclass(frozen=True)
class Wait:
    """Nothing is left to do but to measure on these targets, which cannot be asked now."""

    targets: tuple[str, ...]


@dataclass(frozen=True)
class Complete:
    """Every stage is done."""


Step = Submit | Wait | Complete


@dataclass(frozen=True)
class _Subject:
    """What is scored and measured: a student or the teacher."""

    onnx: str  # the file in ONNX Runtime's form
    float32: str
    quantize: Quantize
    network: str | None
    tokens: str | None
    macs: float | None
    is_teacher: bool = False


# the study itself


def next_study_step(
    space: Space,
    settings: StudySettings,
    results: TrialResults,
    unavailable_targets: Collection[str] = (),
) -> Step:
    """The next stage of the study itself: its data, then its teacher.

    Args:
        unavailable_targets: those that cannot be measured on now.
    """
    if results.prepare is None:
        return Submit(
            Prepare(
                data=space.data,
                tokens=space.tokens,
                subsampling_factor=space.contract.subsampling_factor,
                long_audio=space.gate.long_audio is not None,
            )
        )
    corpus = results.prepare.corpus
    trained = space.teacher.train
    if trained is not None and results.train is None:
        return Submit(
            Train(
                student=trained.student,
                training=trained.training,
                corpus=corpus,
                seed=settings.seed,
                threads=settings.teacher_threads,
            )
        )
    checkpoint = results.checkpoint if trained is not None else settings.imported.get("checkpoint")
    if checkpoint is not None and results.export is None:
        return Submit(Export(checkpoint=checkpoint, quantize=Quantize(), corpus=corpus))
    waiting: tuple[str, ...] = ()
    if (teacher := _teacher(settings, results, checkpoint)) is not None:
        step = _next_measurement(
            space, settings, corpus, None, teacher, results, unavailable_targets
        )
        if isinstance(step, Submit):
            return step
        waiting = step.targets if isinstance(step, Wait) else ()
    if results.teacher_targets is None:
        return Submit(_teacher_targets(space, settings, corpus, checkpoint))
    return Wait(waiting) if waiting else Complete()


def _teacher(
    settings: StudySettings, results: TrialResults, checkpoint: str | None
) -> _Subject | None:
    """The teacher as an ONNX file; None where it runs in torch only."""
    if results.export is not None:
        made = results.export
        return _Subject(
            made.model,
            made.model,
            Quantize(),
            checkpoint,
            made.tokens,
            made.value("macs"),
            is_teacher=True,
        )
    model, tokens = settings.imported.get("model"), settings.imported.get("tokens")
    if model is None or tokens is None:
        return None
    return _Subject(model, model, Quantize(), checkpoint, tokens, None, is_teacher=True)


def _teacher_targets(
    space: Space, settings: StudySettings, corpus: str, checkpoint: str | None
) -> TeacherTargets:
    source = space.teacher
    kind: Literal["huggingface", "torchaudio"] | None = None
    if source.huggingface or source.torchaudio:
        kind = "huggingface" if source.huggingface else "torchaudio"
    folder = settings.imported.get("folder")
    return TeacherTargets(
        corpus=corpus,
        threads=settings.teacher_threads,
        checkpoint=checkpoint,
        model=settings.imported.get("model"),
        tokens=settings.imported.get("tokens"),
        source=kind,
        source_name=folder or source.huggingface or source.torchaudio,
        location=source.huggingface if folder else None,
        speeds=tuple(s for s, noise in augmentations_of(space.data) if noise is None),
        hidden=any(float(v) > 0 for v in space.distil.hidden_weight.values_in_order()),
        subsampling_factor=space.contract.subsampling_factor,
    )


def study_context(space: Space, results: TrialResults) -> StudyContext:
    """What trials need of the study's finished stages."""
    assert results.prepare is not None and results.teacher_targets is not None
    onnx = space.runtimes()[0]
    scored = results.score(onnx.label)
    metrics = metrics_of(space, readings_of(space, results))
    for name, value in tuple(metrics.items()):  # where the first target is too much for a teacher
        metric = MetricRef.of(name)
        if metric.target == onnx.label and not (metric.is_known and metric.known.noisy):
            metrics.setdefault(metric.name, value)
    return StudyContext(
        corpus=results.prepare.corpus,
        soft_targets=results.teacher_targets.soft_targets,
        teacher_texts=results.teacher_targets.texts if scored is None else scored.texts,
        teacher_metrics=metrics,
    )


# a trial


def next_trial_step(
    space: Space,
    settings: StudySettings,
    context: StudyContext,
    recipe: Recipe,
    results: TrialResults,
    unavailable_targets: Collection[str] = (),
) -> Step:
    """The next stage of a trial; whether it is done is asked nowhere else."""
    if results.screen is None:
        return Submit(
            Screen(
                host=settings.host,
                student=recipe.student.pruned(recipe.prune.ratio),
                quantize=recipe.quantize,
                corpus=context.corpus,
                targets={n: t for n, t in space.targets.items() if n not in unavailable_targets},
            )
        )
    if results.train is None:
        return Submit(_train(settings, context, recipe))
    if recipe.prune.ratio > 0 and results.compress is None:
        return Submit(_compress(settings, context, recipe, results.train.checkpoint))
    assert results.checkpoint is not None
    if results.export is None:
        return Submit(
            Export(checkpoint=results.checkpoint, quantize=recipe.quantize, corpus=context.corpus)
        )
    exported = results.export
    for name in space.stages:
        if name not in results.extra:
            model = onnx_model(exported.model)
            return Submit(
                Extra(
                    name=name,
                    network=results.checkpoint,
                    model=model,
                    tokens=exported.tokens,
                    corpus=context.corpus,
                )
            )
    student = _Subject(
        onnx=exported.model,
        float32=exported.float32,
        quantize=recipe.quantize,
        network=results.checkpoint,
        tokens=None,
        macs=exported.value("macs"),
    )
    return _next_measurement(
        space,
        settings,
        context.corpus,
        context.teacher_texts,
        student,
        results,
        unavailable_targets,
    )


def _train(settings: StudySettings, context: StudyContext, recipe: Recipe) -> Train:
    return Train(
        student=recipe.student,
        training=recipe.training,
        distil=recipe.distil,
        losses=recipe.losses,
        soft_targets=context.soft_targets if recipe.distil.weight > 0 else None,
        corpus=context.corpus,
        seed=settings.seed,
        threads=settings.threads,
    )


def _compress(
    settings: StudySettings, context: StudyContext, recipe: Recipe, checkpoint: str
) -> Compress:
    """The same training for fewer epochs, from the pruned network."""
    train = _train(settings, context, recipe)
    return Compress(
        checkpoint=checkpoint,
        ratio=recipe.prune.ratio,
        rule=recipe.prune.rule,
        training=recipe.training.model_copy(update={"epochs": recipe.prune.epochs}),
        distil=train.distil,
        losses=train.losses,
        soft_targets=train.soft_targets,
        corpus=train.corpus,
        seed=train.seed,
        threads=train.threads,
    )


# what students and teacher have in common: conversion, scores, measurements


def _next_measurement(
    space: Space,
    settings: StudySettings,
    corpus: str,
    teacher_texts: str | None,
    subject: _Subject,
    results: TrialResults,
    unavailable_targets: Collection[str],
) -> Step:
    """Convert, score and measure a subject for every target."""
    texts = None
    for runtime in space.runtimes():
        if subject.is_teacher and _is_too_much_for_a_teacher(runtime):
            continue
        converted, scored = (
            results.converted.get(runtime.backend),
            results.scored.get(runtime.label),
        )
        if isinstance(converted, Unavailable) or isinstance(scored, Unavailable):
            continue
        model = _model(runtime, subject, converted)
        if model is None:
            return Submit(_convert(space, settings, runtime, subject, corpus))
        if scored is None:
            return Submit(
                _score(space, settings, runtime, model, subject, corpus, teacher_texts, texts)
            )
        texts = texts or scored.texts
        for name in runtime.targets:
            if name not in results.measured and name not in unavailable_targets:
                return Submit(_measure(space, settings, corpus, name, model, subject, scored))
    missing = tuple(name for name in space.targets if name not in results.measured)
    if subject.is_teacher:  # on targets that are too much for it nobody waits
        missing = tuple(n for n in missing if _can_measure_teacher(space, results, n))
    return Wait(missing) if missing else Complete()


def _can_measure_teacher(space: Space, results: TrialResults, target: str) -> bool:
    runtime = next(r for r in space.runtimes() if target in r.targets)
    given_up = (results.converted.get(runtime.backend), results.scored.get(runtime.label))
    return not _is_too_much_for_a_teacher(runtime) and not any(
        isinstance(result, Unavailable) for result in given_up
    )


def _is_too_much_for_a_teacher(runtime: Runtime) -> bool:
    """A big network in a runtime that takes minutes to prepare tells nothing worth them."""
    info = backend_info(runtime.backend)
    return info.needs_network or info.slow_to_prepare


def _model(runtime: Runtime, subject: _Subject, converted: ConvertResult | None) -> Model | None:
    """The subject in a runtime's form; None where it has still to be converted."""
    if runtime.backend == "onnxruntime":
        return onnx_model(subject.onnx)
    return None if converted is None else converted.model


def _convert(
    space: Space, settings: StudySettings, runtime: Runtime, subject: _Subject, corpus: str
) -> Convert:
    return Convert(
        version=settings.versions.get(runtime.backend, ""),
        backend=runtime.backend,
        onnx=subject.float32,
        network=subject.network,
        quantize=subject.quantize,
        corpus=corpus,
        long_audio=space.gate.long_audio is not None,
    )


def _score(
    space: Space,
    settings: StudySettings,
    runtime: Runtime,
    model: Model,
    subject: _Subject,
    corpus: str,
    teacher_texts: str | None,
    onnx_texts: str | None,
) -> Score:
    return Score(
        version=settings.versions.get(runtime.backend, ""),
        runtime=runtime.label,
        model=model,
        precision=runtime.precision,
        tokens=subject.tokens,
        corpus=corpus,
        teacher_texts=teacher_texts,
        onnx_texts=onnx_texts,
        same_numbers=subject.quantize == Quantize() and runtime.precision == "fp32",
        long_audio=space.gate.long_audio is not None,
    )


def _measure(
    space: Space,
    settings: StudySettings,
    corpus: str,
    name: str,
    model: Model,
    subject: _Subject,
    scored: ScoreResult,
) -> Measure:
    target = space.targets[name]
    baseline = None
    comparable = target.backend == "onnxruntime" and target.metrics is None
    if not subject.is_teacher and "baseline" in settings.imported and comparable:
        baseline = onnx_model(settings.imported["baseline"])
    return Measure(
        target_name=name,
        target=target,
        host="" if target.is_remote else settings.host,
        model=model,
        tokens=subject.tokens,
        corpus=corpus,
        macs=subject.macs,
        texts=scored.texts if target.is_remote else None,
        baseline=baseline,
        baseline_tokens=settings.imported.get("baseline_tokens") if baseline else None,
        calibrated_anchor_ms=settings.anchors_ms.get(name),
    )
