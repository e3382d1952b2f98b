"""Which job comes next for a trial, and for the study before its trials: pure functions.

Results are kept by the name of their job (`workers.jobs.name_of`): `train`, `convert@phone`,
`score@cpu`, `measure@pi5`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from search.budgets import metrics_of
from search.errors import UsageFault
from spaces.backends import backend_info
from spaces.metrics import METRICS
from spaces.recipe import Quantize, Recipe
from spaces.space import Runtime, Space
from workers.compress.dims import pruned_dims
from workers.jobs import (
    Compress,
    Convert,
    Export,
    Figure,
    Job,
    Listen,
    Measure,
    Model,
    Prepare,
    Score,
    Screen,
    StageResult,
    Train,
)

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
    # digests of files that the user brought: checkpoint, model, tokens of the teacher; baseline
    # and baseline_tokens of the bundle that a gate compares with
    brought: Mapping[str, str]
    anchors_ms: Mapping[str, float] = field(default_factory=dict)  # of calibrated targets
    versions: Mapping[str, str] = field(default_factory=dict)  # of the runtimes, by backend


@dataclass(frozen=True)
class _Subject:
    """What is scored and measured: a student or the teacher."""

    onnx: str  # the file in ONNX Runtime's form
    plain: str  # the same in float32
    quantize: Quantize
    network: str | None
    tokens: str | None
    macs: float | None
    is_teacher: bool = False


@dataclass(frozen=True)
class Ground:
    """What the study's own stages made."""

    corpus: str
    teacher: str
    teacher_texts: str | None
    teacher_metrics: Mapping[str, float]


def next_study_job(
    space: Space, facts: StudyFacts, results: Results, put_off: Collection[str] = ()
) -> Job | None:
    """The next stage of the study itself: its data, then its teacher; None when it is ready.

    Args:
        put_off: targets that cannot be measured on now.
    """
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
    if model is not None and tokens is not None:
        macs = None if "export" not in results else results["export"].value("macs")
        teacher = _Subject(model, model, Quantize(), checkpoint, tokens, macs, is_teacher=True)
        job = _next_figures(space, facts, corpus, None, teacher, results, put_off)
        if job is not None:
            return job
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
    onnx = space.runtimes()[0]
    scored = results.get(f"score@{onnx.label}") or results["listen"]
    metrics = metrics_of(space, figures_of(space, results))
    for name, value in tuple(metrics.items()):  # where the first target is too much for a teacher
        base, _, target = name.partition("@")
        if target == onnx.label and not (base in METRICS and METRICS[base].noisy):
            metrics.setdefault(base, value)
    return Ground(
        corpus=str(results["prepare"].facts["corpus"]),
        teacher=str(results["listen"].facts["teacher"]),
        teacher_texts=scored.artifacts.get("texts"),
        teacher_metrics=metrics,
    )


def figures_of(space: Space, results: Results) -> list[Figure]:
    """All figures of a subject; what was scored by a runtime holds for each of its targets."""
    figures: list[Figure] = []
    if "export" in results:  # a file of ONNX Runtime has a size on its targets alone
        figures += [f for f in results["export"].figures if f.metric != "size_mb"]
        sizes = [f for f in results["export"].figures if f.metric == "size_mb"]
        for name in space.runtimes()[0].targets or ("",):
            figures += [f.model_copy(update={"target": name}) for f in sizes]
    if "listen" in results:
        figures += results["listen"].figures
    for runtime in space.runtimes():
        for name in (f"convert@{runtime.backend}", f"score@{runtime.label}"):
            result = results.get(name)
            if result is not None:
                figures += _named(result, runtime.targets or ("",))
    for name in space.targets:
        if f"measure@{name}" in results:
            figures += _named(results[f"measure@{name}"], (name,))
    return figures


def _named(result: StageResult, targets: tuple[str, ...]) -> list[Figure]:
    return [f.model_copy(update={"target": name}) for name in targets for f in result.figures]


def waiting_for(space: Space, results: Results) -> list[str]:
    """Targets that a trained and scored subject has still to be measured on."""
    return [name for name in space.targets if f"measure@{name}" not in results]


def _next_figures(
    space: Space,
    facts: StudyFacts,
    corpus: str,
    teacher_texts: str | None,
    subject: _Subject,
    results: Results,
    put_off: Collection[str],
) -> Job | None:
    """Convert, score and measure a subject for every target; None when nothing is left to do."""
    texts = None
    for runtime in space.runtimes():
        if subject.is_teacher and _too_much_for_a_teacher(runtime):
            continue
        if _failed(results, f"convert@{runtime.backend}", f"score@{runtime.label}"):
            continue
        model = _model(runtime, subject, results)
        if model is None:
            return Convert(
                version=facts.versions.get(runtime.backend, ""),
                backend=runtime.backend,
                onnx=subject.plain,
                network=subject.network,
                quantize=subject.quantize,
                corpus=corpus,
                long_audio=space.gate.long_audio is not None,
            )
        scored = results.get(f"score@{runtime.label}")
        if scored is None:
            plain = subject.quantize == Quantize() and runtime.precision == "fp32"
            return Score(
                version=facts.versions.get(runtime.backend, ""),
                runtime=runtime.label,
                model=model,
                precision=runtime.precision,
                tokens=subject.tokens,
                corpus=corpus,
                teacher_texts=teacher_texts,
                onnx_texts=texts,
                same_numbers=plain,
                long_audio=space.gate.long_audio is not None,
            )
        texts = texts or scored.artifacts["texts"]
        for name in runtime.targets:
            if f"measure@{name}" not in results and name not in put_off:
                return _measure(space, facts, corpus, name, model, subject, scored)
    return None


def _failed(results: Results, *names: str) -> bool:
    """Whether a stage that a teacher can do without came to nothing."""
    return any("failed" in results[name].facts for name in names if name in results)


def model_of(
    space: Space, target: str | None, results: Mapping[str, Mapping[str, Any]]
) -> tuple[Model, str]:
    """What was measured on a target, and the digest of its tokens, from recorded results; the
    file for ONNX Runtime where no target is named.

    Raises:
        UsageFault: when there is no such model.
    """
    backend = "onnxruntime" if target is None else space.targets[target].backend
    exported = results.get("export")
    if not exported or not {"model", "tokens"} <= set(exported["artifacts"]):
        raise UsageFault("it has no exported file")
    if backend == "onnxruntime":
        files = {"model.onnx": exported["artifacts"]["model"]}
        model = Model(backend=backend, main="model.onnx", files=files)
    elif f"convert@{backend}" in results:
        model = Model.model_validate(results[f"convert@{backend}"]["facts"]["model"])
    else:
        raise UsageFault(f"it was never converted for {backend}")
    return model, exported["artifacts"]["tokens"]


def _too_much_for_a_teacher(runtime: Runtime) -> bool:
    """A big network in a runtime that takes minutes to prepare tells nothing worth them."""
    info = backend_info(runtime.backend)
    return info.needs_network or info.slow_to_prepare


def _model(runtime: Runtime, subject: _Subject, results: Results) -> Model | None:
    """The subject in a runtime's form; None where it has still to be converted."""
    if runtime.backend == "onnxruntime":
        return Model(backend="onnxruntime", main="model.onnx", files={"model.onnx": subject.onnx})
    converted = results.get(f"convert@{runtime.backend}")
    return None if converted is None else Model.model_validate(converted.facts["model"])


def _measure(
    space: Space,
    facts: StudyFacts,
    corpus: str,
    name: str,
    model: Model,
    subject: _Subject,
    scored: StageResult,
) -> Measure:
    target = space.targets[name]
    baseline = None
    comparable = target.backend == "onnxruntime" and target.metrics is None
    if not subject.is_teacher and "baseline" in facts.brought and comparable:
        files = {"model.onnx": facts.brought["baseline"]}
        baseline = Model(backend="onnxruntime", main="model.onnx", files=files)
    return Measure(
        target_name=name,
        target=target,
        host="" if target.is_remote else facts.host,
        model=model,
        tokens=subject.tokens,
        corpus=corpus,
        macs=subject.macs,
        texts=scored.artifacts["texts"] if target.is_remote else None,
        baseline=baseline,
        baseline_tokens=facts.brought.get("baseline_tokens") if baseline else None,
        calibrated_anchor_ms=facts.anchors_ms.get(name),
    )


def next_trial_job(
    space: Space,
    facts: StudyFacts,
    ground: Ground,
    recipe: Recipe,
    results: Results,
    put_off: Collection[str] = (),
) -> Job | None:
    """The next stage of a trial; None when nothing is left to do, or nothing but measuring on
    targets that are put off."""
    teacher = ground.teacher if recipe.distil.weight > 0 else None
    if "screen" not in results:
        return Screen(
            host=facts.host,
            student=pruned_dims(recipe.student, recipe.prune.ratio),
            quantize=recipe.quantize,
            corpus=ground.corpus,
            targets={n: t for n, t in space.targets.items() if n not in put_off},
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
    exported = results["export"]
    student = _Subject(
        onnx=exported.artifacts["model"],
        plain=exported.artifacts["float"],
        quantize=recipe.quantize,
        network=trained.artifacts["checkpoint"],
        tokens=None,
        macs=exported.value("macs"),
    )
    return _next_figures(
        space, facts, ground.corpus, ground.teacher_texts, student, results, put_off
    )
