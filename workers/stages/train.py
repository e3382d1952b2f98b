"""Train: a network from nothing, or from its slice of a supernet, to the end of its schedule, with
what the teacher says."""

from __future__ import annotations

import torch

from workers.checkpoint import load_supernet, save_network
from workers.data.corpus import Corpus
from workers.jobs import Compress, Train
from workers.results import TrainResult
from workers.stages.context import StageContext
from workers.students.base import Student, untrained_student
from workers.train.loop import Trainer
from workers.train.losses.soft_targets import SoftTargets
from workers.train.recalibration import recalibrate


def run(job: Train, context: StageContext) -> TrainResult:
    """Train a student or a teacher; an interrupted attempt goes on from its last epoch."""
    torch.set_num_threads(job.threads)
    corpus = context.corpus(job.corpus)
    torch.manual_seed(job.seed)
    network, sliced_share = untrained_student(job.student, corpus), None
    if job.start is not None:
        network, sliced_share = _from_slice(job, job.start, corpus, context)
    checkpoint, trainer = train_network(network, corpus, job, context, job.rungs)
    return TrainResult(
        checkpoint=checkpoint,
        history=tuple(trainer.history),
        rungs=tuple(trainer.rungs),
        sliced_share=sliced_share,
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


def train_network(
    network: Student,
    corpus: Corpus,
    job: Train | Compress,
    context: StageContext,
    rungs: tuple[float, ...] = (),
) -> tuple[str, Trainer]:
    """Train a network as a job says; the digest of its checkpoint, and who trained it."""
    soft_targets = None
    if job.soft_targets is not None:
        soft_targets = SoftTargets(context.soft_targets(job.soft_targets))
    trainer = Trainer(
        network,
        corpus,
        job.training,
        job.seed,
        context.folder,
        distil=job.distil,
        losses=job.losses,
        rungs=rungs,
        soft_targets=soft_targets,
        lock=context.lock,
        report=context.report,
    )
    trainer.run()
    path = context.folder / "checkpoint.safetensors"
    save_network(network, corpus.symbols, path, job=job.stage)
    return context.artifacts.put(path), trainer
