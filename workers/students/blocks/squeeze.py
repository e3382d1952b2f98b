"""Squeeze and excitation over an utterance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.students.base import Group, Slice
from workers.students.blocks.linear import Linear
from workers.students.chunks import Past

_SUMMED_UP = 64  # frames before a chunk that are summed up with it


class SqueezeExcite(nn.Module):
    """Weighs channels by a summary of the whole utterance (Hu et al., arXiv 1709.01507; in speech
    ContextNet, arXiv 2005.03191)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeezed = squeezed
        self.down = Linear(channels, squeezed)
        self.up = Linear(squeezed, channels)
        self.past, self.past_mask = Past(_SUMMED_UP), Past(_SUMMED_UP)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x float32 [N, T, C], mask float32 [N, T, 1]."""
        spoken, n_frames = x * mask, mask
        if self.past.in_chunks:
            spoken, n_frames = self.past(spoken), self.past_mask(mask)
            n_frames = F.pad(n_frames, (0, 0, 0, 1), value=1e-3)  # where nothing was said yet
        mean = spoken.sum(1, keepdim=True) / n_frames.sum(1, keepdim=True)
        return x * torch.sigmoid(self.up(F.relu(self.down(mean))))

    @staticmethod
    def stream_slices(name: str) -> list[Slice]:
        return [
            Slice(f"{name}.down.weight", 1),
            Slice(f"{name}.up.weight"),
            Slice(f"{name}.up.bias"),
        ]

    def group(self, name: str) -> Group:
        """Of its own units."""
        written = (Slice(f"{name}.down.weight"), Slice(f"{name}.down.bias"))
        return Group(self.squeezed, (*written, Slice(f"{name}.up.weight", 1)))
