"""What comes next for an exported file, a student's or the teacher's: conversion, scores,
measurements."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from search.results import TrialResults, onnx_model
from search.study.settings import StudySettings
from spaces.backends import backend_info
from spaces.front_end import USUAL, FrontEnd
from spaces.recipe import Quantize
from spaces.space import Runtime, Space
from workers.jobs import Convert, Job, Measure, Score, ScoreTest
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
class Subject:
    """What is scored and measured: a student or the teacher."""

    onnx: str  # the file in ONNX Runtime's form
    float32: str
    quantize: Quantize
    network: str | None
    tokens: str | None
    macs: float | None
    is_teacher: bool = False
    front_end: FrontEnd = USUAL
    beside: tuple[tuple[str, str], ...] = ()  # files that ship with it: names and digests

    def heard(self, corpus: str) -> str:
        """The name of a prepared corpus as it hears it."""
        return self.front_end.heard(corpus)


def next_measurement(
    space: Space,
    settings: StudySettings,
    corpus: str,
    teacher_texts: str | None,
    subject: Subject,
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


def _model(runtime: Runtime, subject: Subject, converted: ConvertResult | None) -> Model | None:
    """The subject in a runtime's form; None where it has still to be converted."""
    if runtime.backend == "onnxruntime":
        return onnx_model(subject.onnx, dict(subject.beside))
    return None if converted is None else converted.model


def _convert(
    space: Space, settings: StudySettings, runtime: Runtime, subject: Subject, corpus: str
) -> Convert:
    return Convert(
        version=settings.versions.get(runtime.backend, ""),
        backend=runtime.backend,
        onnx=subject.float32,
        network=subject.network,
        quantize=subject.quantize,
        corpus=subject.heard(corpus),
        long_audio=space.gate.long_audio is not None,
    )


def _score(
    space: Space,
    settings: StudySettings,
    runtime: Runtime,
    model: Model,
    subject: Subject,
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
        corpus=subject.heard(corpus),
        teacher_texts=teacher_texts,
        onnx_texts=onnx_texts,
        same_numbers=subject.quantize == Quantize() and runtime.precision == "fp32",
        long_audio=space.gate.long_audio is not None,
    )


def jobs_on_test(
    space: Space, corpus: str, subject: Subject, results: TrialResults
) -> list[ScoreTest]:
    """What scores a subject on test: each of its forms that was scored on dev.

    Args:
        corpus: the prepared test set.
    """
    jobs = []
    for runtime in space.runtimes():
        converted = results.converted.get(runtime.backend)
        if results.score(runtime.label) is None or isinstance(converted, Unavailable):
            continue
        model = _model(runtime, subject, converted)
        if model is not None:
            jobs.append(
                ScoreTest(
                    runtime=runtime.label,
                    model=model,
                    precision=runtime.precision,
                    tokens=subject.tokens,
                    corpus=subject.heard(corpus),
                )
            )
    return jobs


def confirmations(
    space: Space,
    settings: StudySettings,
    corpus: str,
    subject: Subject,
    results: TrialResults,
    targets: Collection[str],
) -> list[Measure]:
    """What measures a subject in a second session, on those targets where there was only one."""
    jobs = []
    for runtime in space.runtimes():
        converted, scored = results.converted.get(runtime.backend), results.score(runtime.label)
        if scored is None or isinstance(converted, Unavailable):
            continue
        model = _model(runtime, subject, converted)
        if model is None:
            continue
        for name in runtime.targets:
            if name in targets and results.measure(name) and name not in results.confirmed:
                job = _measure(space, settings, corpus, name, model, subject, scored)
                jobs.append(job.model_copy(update={"session": 1}))
    return jobs


def _measure(
    space: Space,
    settings: StudySettings,
    corpus: str,
    name: str,
    model: Model,
    subject: Subject,
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
        corpus=subject.heard(corpus),
        macs=subject.macs,
        texts=scored.texts if target.is_remote or target.filter_bank != "kaldi" else None,
        baseline=baseline,
        baseline_tokens=settings.imported.get("baseline_tokens") if baseline else None,
        calibrated_anchor_ms=settings.anchors_ms.get(name),
    )
