"""Rehearse: some batches of an epoch, for what a search would cost."""

from __future__ import annotations

import time

import numpy as np
import torch

from workers.data.batches import epoch_plan, load_batch
from workers.jobs import Rehearse
from workers.results import RehearseResult
from workers.stages.context import StageContext
from workers.students.base import untrained_student
from workers.train.loop import Trainer

_SHARE = 0.15
_FEWEST = 3


def run(job: Rehearse, context: StageContext) -> RehearseResult:
    """CPU seconds of an epoch on one thread, from some of its batches."""
    corpus = context.corpus(job.corpus)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    plan = epoch_plan(corpus, job.training.batch_s, rng)
    few = plan[: max(_FEWEST, round(len(plan) * _SHARE))]
    network = untrained_student(job.student, corpus)
    trainer = Trainer(network, corpus, job.training, 0, context.folder)
    network.train()
    trainer.step(load_batch(corpus, few[0]), 0.5, rng)
    start = time.process_time()
    for items in few:
        trainer.step(load_batch(corpus, items), 0.5, rng)
    spent = time.process_time() - start
    return RehearseResult(epoch_s=spent / len(few) * len(plan))
