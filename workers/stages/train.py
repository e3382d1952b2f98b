"""Train: a network from nothing, or from its slice of a supernet, to the end of its schedule, with
what the teacher says."""

from __future__ import annotations

from pathlib import Path

import torch

from spaces.recipe import Training
from workers.checkpoint import load_network, load_supernet, save_network
from workers.compress.pruning.part import best_part, why_no_part
from workers.data.corpus import Corpus
from workers.jobs import Compress, Qat, Train
from workers.results import RungResult, TrainResult
from workers.stages.context import StageContext
from workers.students.base import Student, untrained_student
from workers.train.loop import Trainer
from workers.train.losses.soft_targets import SoftTargets
from workers.train.placement import Placement
from workers.train.recalibration import recalibrate
from workers.train.stand_ins import StandIns


def run(job: Train, context: StageContext) -> TrainResult | RungResult:
    """Train a student or a teacher, to its end or to a rung; an interrupted attempt, or one that
    paused at a rung, goes on from its last epoch."""
    with context.gpu_for(job) as gpu:
        return _trained(job, context, Placement.of(job, gpu))


def _trained(job: Train, context: StageContext, placement: Placement) -> TrainResult | RungResult:
    torch.set_num_threads(job.threads)
    corpus = context.corpus(job.corpus)
    torch.manual_seed(job.seed)
    network = untrained_student(job.student, corpus)
    sliced_share: float | None = None
    teacher_share: float | None = None
    if job.start is not None:
        network, sliced_share = _from_slice(job, job.start, corpus, context)
    elif job.parent is not None:
        network, teacher_share = _from_parent(network, job.parent, corpus, context)
    trainer = trainer_of(network, corpus, job, context, placement, job.rungs)
    if job.until is not None:
        score = trainer.run_to_rung(job.until)
        return RungResult(score=score, history=tuple(trainer.history))
    trainer.run()
    return TrainResult(
        checkpoint=put_network(network, corpus, job, context),
        history=tuple(trainer.history),
        rungs=tuple(trainer.rungs),
        sliced_share=sliced_share,
        teacher_share=teacher_share,
    )


def _from_slice(
    job: Train, start: str, corpus: Corpus, context: StageContext
) -> tuple[Student, float]:
    """The student as its slice of a supernet, and how much of it the supernet held."""
    supernet, symbols = load_supernet(context.fetch(start, "supernet.safetensors"))
    if symbols != corpus.symbols:
        raise ValueError("the supernet writes other tokens than this corpus has")
    torch.manual_seed(job.seed)
    found = supernet.slice(job.student)
    network = found.materialised()
    with context.lock.shared():
        recalibrate(network, corpus)
    return network, found.share


def _from_parent(
    fresh: Student, parent: str, corpus: Corpus, context: StageContext
) -> tuple[Student, float | None]:
    """The student as the best units of a larger network, and how much of it that network held;
    what is no part of it begins from nothing, and says why."""
    large, symbols, _ = load_network(context.fetch(parent, "parent.safetensors"))
    wanted = fresh.dims
    reason = why_no_part(wanted, large.dims)
    if symbols != corpus.symbols:
        reason = "it writes other tokens"
    if reason is not None:
        print(f"{wanted.label()} is no part of the teacher and begins from nothing: {reason}")
        return fresh, None
    network, share = best_part(large, wanted)
    with context.lock.shared():
        recalibrate(network, corpus)
    return network, share


def trainer_of(
    network: Student,
    corpus: Corpus,
    job: Train | Compress | Qat,
    context: StageContext,
    placement: Placement,
    rungs: tuple[float, ...] = (),
    training: Training | None = None,
    stand_ins: StandIns | None = None,
    folder: Path | None = None,
) -> Trainer:
    """Who trains a network as a job says.

    Args:
        training: instead of the job's.
        folder: where it keeps its state; the stage's own if nothing is said.
    """
    soft_targets = None
    if job.soft_targets is not None:
        soft_targets = SoftTargets(context.soft_targets(job.soft_targets))
    return Trainer(
        network,
        corpus,
        job.training if training is None else training,
        job.seed,
        context.folder if folder is None else folder,
        distil=job.distil,
        losses=job.losses,
        rungs=rungs,
        soft_targets=soft_targets,
        lock=context.lock,
        report=context.report,
        placement=placement,
        stand_ins=stand_ins,
    )


def put_network(
    network: Student, corpus: Corpus, job: Train | Compress | Qat, context: StageContext
) -> str:
    """Digest of the checkpoint of a trained network."""
    path = context.folder / "checkpoint.safetensors"
    save_network(network, corpus.symbols, path, job=job.stage)
    return context.artifacts.put(path)
