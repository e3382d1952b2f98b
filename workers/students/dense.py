"""Dense layers over spliced frames: the acoustic model of hybrid recognisers, with CTC."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.families import Dense
from workers.students.base import Group, Normaliser, Output, Slice, Student
from workers.students.blocks.convolution import ConvNorm
from workers.students.blocks.lengths import frame_mask, halved
from workers.students.blocks.linear import Linear, LinearNorm


class Splice(Normaliser):
    """Each fourth frame and those around it to [N, ceil(T / 4), channels], by one dense layer."""

    def __init__(self, channels: int, mels: int, context: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(mels))
        self.register_buffer("inv_std", torch.ones(mels))
        self.spliced = ConvNorm(mels, channels, context, stride=4)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Takes normalised features."""
        x = features * frame_mask(lengths, features.shape[1])
        return F.relu(self.spliced(x)), halved(halved(lengths))


class Network(Student):
    """Splice, layers, head."""

    dims: Dense
    frontend: Splice

    def __init__(self, dims: Dense, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = Splice(dims.channels, dims.front_end.mels, dims.context)
        self.encoder = nn.ModuleList(
            LinearNorm(dims.channels, dims.channels) for _ in range(dims.blocks)
        )
        self.head = Linear(dims.channels, vocabulary)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        x, lengths = self.frontend(features, lengths)
        middle = None
        for i, layer in enumerate(self.encoder):
            x = F.dropout(F.relu(layer(x)), self.dims.dropout, self.training)
            middle = x if i + 1 == len(self.encoder) // 2 else middle
        return Output(self.head(x), lengths, x, None, middle)

    def groups(self) -> list[Group]:
        """The units of each layer, where it writes them and the next one reads them."""
        names = [f"encoder.{i}" for i in range(len(self.encoder))]
        writes = [ConvNorm.writes("frontend.spliced"), *map(LinearNorm.writes, names)]
        reads = [*map(LinearNorm.reads, names), [Slice("head.weight", 1)]]
        pairs = zip(writes, reads, strict=True)
        return [Group(self.dims.channels, (*written, *read)) for written, read in pairs]
