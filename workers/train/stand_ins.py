"""Tensors that a network computes with, while it is trained, instead of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from workers.students.base import Student


class StandIns(Protocol):
    """Made of a network's tensors anew at every step, so that gradients reach these."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """What of its own is trained with the network."""
        ...

    def to(self, device: torch.device) -> None:
        """Bring what is trained to where the network is."""
        ...

    def tensors(self, network: Student) -> dict[str, Tensor]:
        """By the names of those that they stand in for."""
        ...

    def loss(self) -> Tensor | float:
        """What is added to the loss."""
        ...
