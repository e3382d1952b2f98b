"""Compress: prune a trained network, then train what is left."""

from __future__ import annotations

import torch

from workers.checkpoint import load_network
from workers.compress.pruning.prune import prune
from workers.jobs import Compress
from workers.results import CompressResult
from workers.stages.context import StageContext
from workers.stages.train import put_network, trainer_of
from workers.train.placement import Placement


def run(job: Compress, context: StageContext) -> CompressResult:
    """Remove the weakest units of a network and train it again."""
    torch.set_num_threads(job.threads)
    corpus = context.corpus(job.corpus)
    parent, _, _ = load_network(context.fetch(job.checkpoint, "parent.safetensors"))
    network = prune(parent, job.ratio, job.rule)
    with context.gpu_for(job) as gpu:
        trainer = trainer_of(network, corpus, job, context, Placement.of(job, gpu))
        trainer.run()
    checkpoint = put_network(network, corpus, job, context)
    return CompressResult(checkpoint=checkpoint, history=tuple(trainer.history))
