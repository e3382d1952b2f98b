"""Which stage comes next for a trial, and for the study before its trials: pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from search.objectives import metrics_of
from search.results import TrialResults, onnx_model, readings_of
from search.strategy.weight_sharing import supernet_of, training_of_slice
from search.study.measuring import Complete, Step, Subject, Submit, Wait, next_measurement
from search.study.settings import StudyContext, StudySettings, TeacherFile, also
from spaces.metrics import MetricRef
from spaces.recipe import Decode, Quantize, Recipe
from spaces.space import Space, TeacherSource
from workers.data.prepare import augmentations_of
from workers.jobs import (
    Compress,
    Export,
    Extra,
    Prepare,
    Qat,
    Screen,
    Supernet,
    TeacherTargets,
    Train,
)
from workers.results import Reading

_QAT_RATE = 0.25  # of the learning rate: the network is trained


def next_study_step(
    space: Space,
    settings: StudySettings,
    results: TrialResults,
    unavailable_targets: Collection[str] = (),
    shared: Collection[str] = (),
) -> Step:
    """The next stage of the study itself: its data, its teacher, then its supernets.

    Args:
        unavailable_targets: those that cannot be measured on now.
        shared: families that get a supernet.
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
        train = Train(
            student=trained.student,
            training=trained.training,
            corpus=corpus,
            seed=settings.seed,
            threads=settings.teacher_threads,
        )
        return Submit(settings.place.of(train))
    checkpoint = _teacher_checkpoint(space, settings, results)
    if checkpoint is not None and results.export is None:
        return Submit(Export(checkpoint=checkpoint, quantize=Quantize(), corpus=corpus))
    waiting: tuple[str, ...] = ()
    if (teacher := teacher_subject(space, settings, results)) is not None:
        step = next_measurement(
            space, settings, corpus, None, teacher, results, unavailable_targets
        )
        if isinstance(step, Submit):
            return step
        waiting = step.targets if isinstance(step, Wait) else ()
    if results.teacher_targets is None and space.trained_families:
        return Submit(settings.place.of(_teacher_targets(space, settings, corpus, checkpoint)))
    for family in shared:
        if family not in results.supernets:
            assert results.teacher_targets is not None
            soft_targets = results.teacher_targets.soft_targets
            return Submit(
                settings.place.of(_supernet(space, settings, corpus, soft_targets, family))
            )
    return Wait(waiting) if waiting else Complete()


def _teacher_checkpoint(space: Space, settings: StudySettings, results: TrialResults) -> str | None:
    if space.teacher.train is not None:
        return results.checkpoint
    return settings.imported.get("checkpoint")


def teacher_subject(space: Space, settings: StudySettings, results: TrialResults) -> Subject | None:
    """The teacher as an ONNX file; None where it runs in torch only."""
    checkpoint = _teacher_checkpoint(space, settings, results)
    if results.export is not None:
        made = results.export
        return Subject(
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
    return Subject(model, model, Quantize(), checkpoint, tokens, None, is_teacher=True)


def _teacher_targets(
    space: Space, settings: StudySettings, corpus: str, checkpoint: str | None
) -> TeacherTargets:
    first = _targets_of(space, settings, space.teacher, settings.imported, corpus, checkpoint)
    others = []
    for i, other in enumerate(space.teacher.also):
        start = also(i)
        files = {
            role.removeprefix(start): digest
            for role, digest in settings.imported.items()
            if role.startswith(start)
        }
        given = files.get("checkpoint")
        others.append(_targets_of(space, settings, other, files, corpus, given))
    return first.model_copy(update={"also": tuple(others)})


def _targets_of(
    space: Space,
    settings: StudySettings,
    source: TeacherSource,
    files: Mapping[str, str],
    corpus: str,
    checkpoint: str | None,
) -> TeacherTargets:
    """Of one teacher, by the digests of its files."""
    name = source.huggingface or source.torchaudio or source.sherpa
    folder = files.get("folder")
    return TeacherTargets(
        corpus=corpus,
        threads=settings.teacher_threads,
        checkpoint=checkpoint,
        model=files.get("model"),
        tokens=files.get("tokens"),
        waveform=files.get("waveform"),
        as_recorded=source.as_recorded,
        source=None if name is None else source.kind,
        source_name=folder or name,
        location=name if folder else None,
        command=source.command,
        at_once=source.at_once,
        time_limit_s=source.time_limit_s,
        language=source.language,
        top_k=space.teacher.top_k,
        speeds=tuple(s for s, noise in augmentations_of(space.data) if noise is None),
        hidden=any(float(v) > 0 for v in space.distil.hidden_weight.values_in_order()),
        halfway=2 in space.distil.hidden_layers.values_in_order(),
        subsampling_factor=space.contract.subsampling_factor,
    )


def _supernet(
    space: Space, settings: StudySettings, corpus: str, soft_targets: str, family: str
) -> Supernet:
    """Trained alone, so with all cores."""
    plan = supernet_of(space, family)
    return Supernet(
        largest=plan.largest,
        choices=dict(plan.choices),
        training=plan.training,
        distil=plan.distil,
        soft_targets=soft_targets if plan.distil.weight > 0 else None,
        corpus=plan.largest.front_end.heard(corpus),
        seed=settings.seed,
        threads=settings.teacher_threads,
    )


def teacher_readings(space: Space, settings: StudySettings, results: TrialResults) -> list[Reading]:
    """All readings of the teacher; no stage writes the file of one that was brought as ONNX, so
    its size is among the settings."""
    readings = readings_of(space, results)
    if settings.teacher_size_mb is not None:
        size = Reading(metric="size_mb", value=settings.teacher_size_mb)
        on = space.runtimes()[0].targets or ("",)
        readings += [size.model_copy(update={"target": name}) for name in on]
    return readings


def study_context(space: Space, settings: StudySettings, results: TrialResults) -> StudyContext:
    """What trials need of the study's finished stages."""
    assert results.prepare is not None
    targets = results.teacher_targets
    texts = None if targets is None else targets.texts
    onnx = space.runtimes()[0]
    scored = results.score(onnx.label)
    metrics = metrics_of(space, teacher_readings(space, settings, results))
    for name, value in tuple(metrics.items()):  # where the first target is too much for a teacher
        metric = MetricRef.of(name)
        if metric.target == onnx.label and not (metric.is_known and metric.known.noisy):
            metrics.setdefault(metric.name, value)
    return StudyContext(
        corpus=results.prepare.corpus,
        soft_targets=None if targets is None else targets.soft_targets,
        teacher_texts=texts if scored is None else scored.texts,
        teacher_metrics=metrics,
        supernets={family: made.checkpoint for family, made in results.supernets.items()},
        teacher_network=_teacher_checkpoint(space, settings, results),
        teacher_file=_teacher_file(space, settings, results),
    )


def next_trial_step(
    space: Space,
    settings: StudySettings,
    context: StudyContext,
    recipe: Recipe,
    results: TrialResults,
    unavailable_targets: Collection[str] = (),
    *,
    to_end: bool = True,
    is_trained: bool = False,
) -> Step:
    """The next stage of a trial; whether it is done is asked nowhere else.

    Args:
        to_end: it is trained to its end at once; else it pauses at the rungs of the space.
        is_trained: its network is there already: nothing would be saved by screening it.
    """
    if not recipe.student.is_trained:
        return _next_of_teacher_graph(
            space, settings, context, recipe, results, unavailable_targets
        )
    if results.screen is None and not is_trained:
        corpus, host = context.corpus, settings.host
        without = {*unavailable_targets, *settings.not_screened}
        return Submit(screen_job(space, host, corpus, recipe, without))
    context = replace(context, corpus=recipe.student.front_end.heard(context.corpus))
    if results.train is None:
        train = settings.place.of(_train(settings, context, recipe))
        start = context.supernets.get(recipe.student.family)
        if start is not None:
            return Submit(_from_slice(space, train, start))
        rungs = space.search.rungs
        until = None if to_end else _next_rung(rungs, results)
        return Submit(train.model_copy(update={"rungs": rungs, "until": until}))
    if recipe.prune.ratio > 0 and results.compress is None:
        return Submit(
            settings.place.of(_compress(settings, context, recipe, results.train.checkpoint))
        )
    network = results.checkpoint
    assert network is not None
    if recipe.quantize.qat_epochs and results.qat is None:
        return Submit(settings.place.of(_qat(settings, context, recipe, network)))
    exported = results.export
    if exported is None or exported.float32 is None:
        quantize, decode = recipe.quantize, _decode(recipe)
        return Submit(
            Export(checkpoint=network, quantize=quantize, decode=decode, corpus=context.corpus)
        )
    for name in space.stages:
        if name not in results.extra:
            model, tokens = onnx_model(exported.model, exported.beside), exported.tokens
            return Submit(
                Extra(name=name, network=network, model=model, tokens=tokens, corpus=context.corpus)
            )
    student = student_subject(recipe, results)
    assert student is not None
    texts, corpus = context.teacher_texts, context.corpus
    return next_measurement(space, settings, corpus, texts, student, results, unavailable_targets)


def _teacher_file(
    space: Space, settings: StudySettings, results: TrialResults
) -> TeacherFile | None:
    teacher = teacher_subject(space, settings, results)
    if teacher is None or teacher.tokens is None:
        return None
    params = None if results.export is None else results.export.value("params")
    return TeacherFile(teacher.onnx, teacher.tokens, teacher.macs, params)


def _next_of_teacher_graph(
    space: Space,
    settings: StudySettings,
    context: StudyContext,
    recipe: Recipe,
    results: TrialResults,
    unavailable_targets: Collection[str],
) -> Step:
    """The teacher's own graph is quantized, scored and measured as a student is."""
    file = context.teacher_file
    assert file is not None  # `spaces.checks` sees to it
    if results.export is None:
        export = Export(
            onnx=file.onnx,
            tokens=file.tokens,
            macs=file.macs,
            params=file.params,
            quantize=recipe.quantize,
            decode=_decode(recipe),
            corpus=context.corpus,
        )
        return Submit(export)
    subject = student_subject(recipe, results)
    assert subject is not None
    texts, corpus = context.teacher_texts, context.corpus
    return next_measurement(space, settings, corpus, texts, subject, results, unavailable_targets)


def _decode(recipe: Recipe) -> Decode | None:
    """How it is decoded, unless greedily."""
    return recipe.decode if recipe.decode.beam > 1 else None


def student_subject(recipe: Recipe, results: TrialResults) -> Subject | None:
    """A student as it is scored and measured; None where it is not exported."""
    exported, is_trained = results.export, recipe.student.is_trained
    if exported is None or exported.float32 is None or (is_trained and not results.checkpoint):
        return None
    return Subject(
        onnx=exported.model,
        float32=exported.float32,
        quantize=recipe.quantize,
        network=results.checkpoint,
        tokens=None if is_trained else exported.tokens,
        macs=exported.value("macs"),
        front_end=recipe.student.front_end,
        beside=tuple(sorted(exported.beside.items())),
    )


def _next_rung(rungs: Collection[float], results: TrialResults) -> float | None:
    """Where training pauses next; None where it goes to its end."""
    return next((share for share in sorted(rungs) if f"{share:g}" not in results.rungs), None)


def screen_job(
    space: Space,
    host: str,
    corpus: str,
    recipe: Recipe,
    without: Collection[str] = (),
    end: str = "",
) -> Screen:
    """What tells the size, cost and latency of a student as it will be when it is pruned.

    Args:
        without: targets that cannot be measured on now.
        end: which end of the space it stands for, if it does.
    """
    return Screen(
        host=host,
        student=recipe.student.pruned(recipe.prune.ratio),
        quantize=recipe.quantize.formats_only,
        corpus=recipe.student.front_end.heard(corpus),
        targets={n: t for n, t in space.targets.items() if n not in without},
        end=end,
    )


def _train(settings: StudySettings, context: StudyContext, recipe: Recipe) -> Train:
    return Train(
        student=recipe.student,
        training=recipe.training.model_copy(update={"start": "nothing"}),  # `parent` says it
        distil=recipe.distil,
        losses=recipe.losses,
        soft_targets=context.soft_targets if recipe.distil.weight > 0 else None,
        corpus=context.corpus,
        seed=settings.seed,
        threads=settings.threads,
        parent=context.teacher_network if recipe.training.start == "teacher" else None,
    )


def _from_slice(space: Space, train: Train, start: str) -> Train:
    """The same from its slice of a supernet, to the end: in the flat part of its schedule a student
    makes more errors than its slice did, and rungs there would compare nothing."""
    training = training_of_slice(space, train.training)
    return train.model_copy(update={"start": start, "parent": None, "training": training})


def _compress(
    settings: StudySettings, context: StudyContext, recipe: Recipe, checkpoint: str
) -> Compress:
    """The same training for fewer epochs, from the pruned network."""
    prune = recipe.prune
    return Compress(
        ratio=prune.ratio,
        rule=prune.rule,
        rounds=prune.rounds if prune.rounds > 1 else None,
        scope=None if prune.scope == "module" else prune.scope,
        **_further(settings, context, recipe, checkpoint, prune.epochs),
    )


def _qat(settings: StudySettings, context: StudyContext, recipe: Recipe, checkpoint: str) -> Qat:
    """The same training for fewer epochs and more gently, with rounded numbers."""
    quantize = recipe.quantize
    again = _further(settings, context, recipe, checkpoint, quantize.qat_epochs, _QAT_RATE)
    return Qat(quantize=quantize.formats_only, **again)


def _further(
    settings: StudySettings,
    context: StudyContext,
    recipe: Recipe,
    checkpoint: str,
    epochs: int,
    gentler: float = 1.0,
) -> dict[str, Any]:
    """What jobs that train a network on have of its training."""
    train = _train(settings, context, recipe)
    rate = train.training.learning_rate * gentler
    training = train.training.model_copy(update={"epochs": epochs, "learning_rate": rate})
    same = ("distil", "losses", "soft_targets", "corpus", "seed", "threads")
    told = {name: getattr(train, name) for name in same}
    return {"checkpoint": checkpoint, "training": training, **told}
