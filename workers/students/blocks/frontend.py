"""From raw log-mels to a quarter of their frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.data.features import N_MELS
from workers.students.base import Group, Normaliser, Slice
from workers.students.blocks.convolution import DepthwiseConv, folded_convolution
from workers.students.blocks.lengths import frame_mask, halved
from workers.students.blocks.linear import BatchNorm, LinearNorm
from workers.students.chunks import Past, convolved


class Frontend(Normaliser):
    """Raw log-mels [N, T, mels] to [N, ceil(ceil(T / 2) / 2), channels].

    The mean and variance of the training data are part of the network: runtimes feed raw
    log-mels.
    """

    def __init__(self, channels: int, mels: int = N_MELS) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("mean", torch.zeros(mels))
        self.register_buffer("inv_std", torch.ones(mels))
        self.conv = nn.Conv2d(mels, channels, (1, 5), stride=(1, 2), padding=(0, 2), bias=False)
        self.bn = BatchNorm(channels)
        self.past = Past(2)
        self.depthwise = DepthwiseConv(channels, 5, stride=2)
        self.pointwise = LinearNorm(channels, channels)
        self.folded: nn.Conv2d | None = None

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Takes normalised features."""
        x = features * frame_mask(lengths, features.shape[1])
        y = self._strided(x)
        lengths = halved(lengths)
        y = F.relu(y) * frame_mask(lengths, y.shape[1])
        y = F.relu(self.pointwise(self.depthwise(y)))
        return y, halved(lengths)

    def _strided(self, x: Tensor) -> Tensor:
        if self.folded is not None:
            return convolved(self.folded, self.past, x).squeeze(2).transpose(1, 2)
        y = convolved(self.conv, self.past, x)
        return self.bn(y.float().squeeze(2).transpose(1, 2))

    def fold(self) -> None:
        """Make the norm part of the first convolution; for good, before an export."""
        self.folded = folded_convolution(self.conv, self.bn)

    def groups(self, name: str) -> list[Group]:
        slices = [
            Slice(f"{name}.conv.weight"),
            *BatchNorm.slices(f"{name}.bn"),
            *DepthwiseConv.slices(f"{name}.depthwise"),
            *LinearNorm.reads(f"{name}.pointwise"),
        ]
        return [Group(self.channels, tuple(slices))]

    @staticmethod
    def writes(name: str) -> list[Slice]:
        return LinearNorm.writes(f"{name}.pointwise")
