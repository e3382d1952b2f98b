"""Supernet: one network for all students of a family, whose slices they begin as."""

from __future__ import annotations

import torch

from workers.checkpoint import save_supernet
from workers.data.corpus import Corpus
from workers.jobs import Supernet as SupernetJob
from workers.results import SupernetResult
from workers.stages.context import StageContext
from workers.students.supernet import Supernet
from workers.train.loop import dev_errors
from workers.train.losses.soft_targets import SoftTargets
from workers.train.placement import Placement
from workers.train.recalibration import recalibrate
from workers.train.supernet import SupernetTrainer


def run(job: SupernetJob, context: StageContext) -> SupernetResult:
    """Train it; an interrupted attempt goes on from its last epoch."""
    torch.set_num_threads(job.threads)
    corpus = context.corpus(job.corpus)
    torch.manual_seed(job.seed)
    supernet = untrained_supernet(job, corpus)
    soft_targets = None
    if job.soft_targets is not None:
        soft_targets = SoftTargets(context.soft_targets(job.soft_targets))
    with context.gpu_for(job) as gpu:
        trainer = SupernetTrainer(
            supernet,
            corpus,
            job.training,
            job.seed,
            context.folder,
            distil=job.distil,
            soft_targets=soft_targets,
            lock=context.lock,
            report=context.report,
            placement=Placement.of(job, gpu),
        )
        trainer.run()
    path = context.folder / "supernet.safetensors"
    save_supernet(supernet, corpus.symbols, path)
    with context.lock.shared():
        smallest_wer = _smallest_wer(supernet, corpus)
    return SupernetResult(
        checkpoint=context.artifacts.put(path),
        history=tuple(trainer.history),
        smallest_wer=smallest_wer,
    )


def untrained_supernet(job: SupernetJob, corpus: Corpus) -> Supernet:
    """With the tokens and the normalisation of a corpus."""
    supernet = Supernet(job.largest, job.choices, len(corpus.symbols))
    supernet.network.frontend.mean.copy_(torch.from_numpy(corpus.mean))
    supernet.network.frontend.inv_std.copy_(torch.from_numpy(corpus.inv_std))
    return supernet


def _smallest_wer(supernet: Supernet, corpus: Corpus) -> float:
    smallest = supernet.slice(supernet.smallest).materialised()
    recalibrate(smallest, corpus)
    errors, words = dev_errors(smallest, corpus)
    return float(errors.sum() / words.sum())
