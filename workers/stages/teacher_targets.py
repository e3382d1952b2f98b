"""Teacher targets: what the teacher makes of the training set, inferred once for all students."""

from __future__ import annotations

from pathlib import Path

import torch

from spaces.space import TeacherSource
from workers.jobs import TeacherTargets, key_of
from workers.measure.readings import accuracy_readings
from workers.results import Reading, TeacherTargetsResult
from workers.stages.context import StageContext
from workers.teachers.base import Transcriber
from workers.teachers.combined import Asked, combine
from workers.teachers.load import load_teacher
from workers.teachers.runner import TeacherRunner
from workers.teachers.targets import Layers, infer_targets, targets_index
from workers.train.placement import Placement


def run(job: TeacherTargets, context: StageContext) -> TeacherTargetsResult:
    """Let the teacher infer the training set; where it cannot be exported, score it on dev.

    Raises:
        TeacherFault: saying what is wrong with the teacher.
    """
    with context.gpu_for(job) as gpu:
        return _inferred(job, context, Placement.of(job, gpu).device)


def _inferred(
    job: TeacherTargets, context: StageContext, device: torch.device
) -> TeacherTargetsResult:
    torch.set_num_threads(job.threads)
    corpus = context.corpus(job.corpus)
    first = _asked(job.model_copy(update={"also": ()}), context, device)
    runner, teacher, folder = first.runner, first.runner.teacher, first.folder
    combined = None
    if not job.also:
        first.infer()
    else:
        others = [_asked(other, context, device) for other in job.also]
        folder = context.workspace.soft_targets(key_of(job)[:32])
        together = [first, *others]
        combined = combine(together, corpus, folder, job.subsampling_factor, context.report)
    index = targets_index(folder)
    texts, readings = None, []
    # one that is no file with the students' inputs is scored here, where it runs
    if isinstance(teacher, Transcriber) or teacher.wants_samples:
        written = []
        for text in runner.texts(corpus.dev):
            written.append(text)
            context.report("teacher on dev", len(written), len(corpus.dev))
        texts = context.put_texts(written)
        readings = accuracy_readings(corpus, written, None)
        if teacher.n_parameters is not None:
            readings.append(Reading(metric="params", value=float(teacher.n_parameters)))
    return TeacherTargetsResult(
        soft_targets=folder.name,
        target_kind=index["kind"],
        n_pseudo_labels=index.get("n_pseudo_labels"),
        n_utterances=len(corpus.train),
        n_unlabelled=len(corpus.unlabelled),
        n_unlabelled_used=len(index.get("pseudo_labels", ())),
        left_out=index.get("left_out", {}),
        combined=combined,
        texts=texts,
        readings=tuple(readings),
    )


def _asked(job: TeacherTargets, context: StageContext, device: torch.device) -> Asked:
    """One teacher, ready to be asked about the training set."""
    corpus = context.corpus(job.corpus)
    teacher = load_teacher(_source(job, context), job.threads, device)
    runner = TeacherRunner(teacher, corpus, job.speeds)
    name = key_of(job)[:32]
    folder = context.workspace.soft_targets(name)

    def infer() -> None:
        infer_targets(
            runner,
            folder,
            job.subsampling_factor,
            Layers(job.hidden, job.halfway),
            lambda done, of: context.report("teacher targets", done, of),
            job.top_k,
        )

    return Asked(runner, folder, infer, context.workspace.soft_targets(f"{name}-texts"))


def _source(job: TeacherTargets, context: StageContext) -> TeacherSource:
    """The teacher from the artifacts that were measured, wherever its own files are by now."""

    def stored(digest: str, name: str) -> str:
        path: Path = context.fetch(digest, f"{digest[:16]}-{name}")  # of several teachers
        return str(path)

    if job.checkpoint is not None:
        return TeacherSource(checkpoint=stored(job.checkpoint, "teacher.safetensors"))
    if job.model is not None and job.tokens is not None:
        return TeacherSource(
            onnx=stored(job.model, "teacher.onnx"), tokens=stored(job.tokens, "tokens.txt")
        )
    if job.waveform is not None and job.tokens is not None:
        return TeacherSource(
            waveform=stored(job.waveform, "teacher.onnx"),
            tokens=stored(job.tokens, "tokens.txt"),
            as_recorded=job.as_recorded,
        )
    if job.command is not None:
        return TeacherSource(
            command=job.command, at_once=job.at_once, time_limit_s=job.time_limit_s
        )
    assert job.source is not None
    named = {job.source: job.location or job.source_name, "language": job.language}
    return TeacherSource.model_validate(named)
