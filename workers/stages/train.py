"""Train: a network from nothing to the end of its schedule, with what the teacher says."""

from __future__ import annotations

import torch

from workers.checkpoint import save_network
from workers.data.corpus import Corpus
from workers.jobs import Compress, Train
from workers.results import TrainResult
from workers.stages.context import StageContext
from workers.students.base import Student, untrained_student
from workers.train.loop import Trainer
from workers.train.losses.soft_targets import SoftTargets


def run(job: Train, context: StageContext) -> TrainResult:
    """Train a student or a teacher; an interrupted attempt goes on from its last epoch."""
    torch.set_num_threads(job.threads)
    corpus = context.corpus(job.corpus)
    torch.manual_seed(job.seed)
    network = untrained_student(job.student, corpus)
    checkpoint, trainer = train_network(network, corpus, job, context, job.rungs)
    history, rungs = tuple(trainer.history), tuple(trainer.rungs)
    return TrainResult(checkpoint=checkpoint, history=history, rungs=rungs)


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
