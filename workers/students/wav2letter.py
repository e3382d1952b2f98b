"""Wav2Letter: plain convolutions, one after the other (Collobert et al., arXiv 1609.03193)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from spaces.families import Wav2Letter
from workers.students.base import Group, Output, Slice, Student
from workers.students.blocks.convolution import ConvNorm
from workers.students.blocks.frontend import Frontend
from workers.students.blocks.lengths import frame_mask
from workers.students.blocks.linear import Linear


class Network(Student):
    """Frontend, convolutions, head."""

    dims: Wav2Letter
    frontend: Frontend

    def __init__(self, dims: Wav2Letter, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = Frontend(dims.channels, dims.front_end.mels)
        self.encoder = nn.ModuleList(
            ConvNorm(dims.channels, dims.channels, dims.kernel) for _ in range(dims.blocks)
        )
        self.head = Linear(dims.channels, vocabulary)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        x, lengths = self.frontend(features, lengths)
        mask = frame_mask(lengths, x.shape[1])
        middle = None
        for i, layer in enumerate(self.encoder):
            x = F.dropout(F.relu(layer(x * mask)), self.dims.dropout, self.training)
            middle = x if i + 1 == len(self.encoder) // 2 else middle
        return Output(self.head(x), lengths, x, None, middle)

    def groups(self) -> list[Group]:
        """The channels of each layer, where it writes them and the next one reads them."""
        names = [f"encoder.{i}" for i in range(len(self.encoder))]
        writes = [Frontend.writes("frontend"), *map(ConvNorm.writes, names)]
        reads = [*map(ConvNorm.reads, names), [Slice("head.weight", 1)]]
        pairs = zip(writes, reads, strict=True)
        layers = [Group(self.dims.channels, (*written, *read)) for written, read in pairs]
        return [*self.frontend.groups("frontend"), *layers]
