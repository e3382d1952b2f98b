"""Train: a network from nothing to the end of its schedule, with what the teacher says."""

from __future__ import annotations

import torch

from workers.checkpoint import save_network
from workers.data.corpus import Corpus
from workers.jobs import Compress, Train
from workers.results import RungResult, TrainResult
from workers.stages.context import StageContext
from workers.students.base import Student, untrained_student
from workers.train.loop import Trainer
from workers.train.losses.soft_targets import SoftTargets


def run(job: Train, context: StageContext) -> TrainResult | RungResult:
    """Train a student or a teacher, to its end or to a rung; an interrupted attempt, or one that
    paused at a rung, goes on from its last epoch."""
    torch.set_num_threads(job.threads)
    corpus = context.corpus(job.corpus)
    torch.manual_seed(job.seed)
    network = untrained_student(job.student, corpus)
    trainer = trainer_of(network, corpus, job, context, job.rungs)
    if job.until is not None:
        score = trainer.run_to_rung(job.until)
        return RungResult(score=score, history=tuple(trainer.history))
    trainer.run()
    return TrainResult(
        checkpoint=put_network(network, corpus, job, context),
        history=tuple(trainer.history),
        rungs=tuple(trainer.rungs),
    )


def trainer_of(
    network: Student,
    corpus: Corpus,
    job: Train | Compress,
    context: StageContext,
    rungs: tuple[float, ...] = (),
) -> Trainer:
    """Who trains a network as a job says."""
    soft_targets = None
    if job.soft_targets is not None:
        soft_targets = SoftTargets(context.soft_targets(job.soft_targets))
    return Trainer(
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


def put_network(
    network: Student, corpus: Corpus, job: Train | Compress, context: StageContext
) -> str:
    """Digest of the checkpoint of a trained network."""
    path = context.folder / "checkpoint.safetensors"
    save_network(network, corpus.symbols, path, job=job.stage)
    return context.artifacts.put(path)
