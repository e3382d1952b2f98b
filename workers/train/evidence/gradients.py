"""How much the loss depends on each weight, to first order."""

from __future__ import annotations

import itertools

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
    batches = list(itertools.islice(trainer.batches(rng), _BATCHES))
    for batch in batches:
        trainer.gradients(batch, 1.0, rng)
        for name, parameter in named.items():
            if parameter.grad is not None:
                found[name] += (parameter * parameter.grad).detach().abs() / len(batches)
    network.load_state_dict(kept)
    network.zero_grad()
    return {name: value.cpu() for name, value in found.items()}
