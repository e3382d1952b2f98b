"""How much the loss depends on each weight, to first order."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from workers.train.loop import Trainer

_BATCHES = 16


def gradient_evidence(trainer: Trainer) -> dict[str, Tensor]:
    """|weight * gradient| of every parameter, the mean over batches of the trainer's own loss; its
    network stays as it is."""
    network = trainer.network
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    named = dict(network.named_parameters())
    found = {name: torch.zeros_like(parameter) for name, parameter in named.items()}
    rng = np.random.default_rng(trainer.seed)
    network.train()
    _, every = trainer.batches(rng)
    batches = list(itertools.islice(every, _BATCHES))
    for batch in batches:
        with trainer.lock.shared() if trainer.lock else nullcontext():
            trainer.gradients(batch, 1.0, rng)
        for name, parameter in named.items():
            if parameter.grad is not None:  # in float16 one may be beyond all numbers
                change = torch.nan_to_num((parameter * parameter.grad).detach().abs(), posinf=0.0)
                found[name] += change / len(batches)
    network.load_state_dict(kept)
    network.zero_grad()
    network.eval().to("cpu")
    return {name: value.cpu() for name, value in found.items()}
