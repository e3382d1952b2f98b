"""Depthwise-separable convolutions for the local pattern, LSTM layers for the context."""

from __future__ import annotations

from torch import Tensor, nn

from spaces.families import DsconvLstm
from workers.students.base import Group, Output, Slice, Student
from workers.students.blocks.convolution import SeparableBlock
from workers.students.blocks.frontend import Frontend
from workers.students.blocks.lengths import frame_mask
from workers.students.blocks.linear import Linear
from workers.students.blocks.recurrent import RecurrentStack


class Network(Student):
    """Frontend, separable blocks, LSTM, head."""

    dims: DsconvLstm
    frontend: Frontend

    training_only = ("halfway",)

    def __init__(self, dims: DsconvLstm, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = Frontend(dims.channels, dims.front_end.mels)
        self.encoder = nn.ModuleList(
            SeparableBlock(dims.channels, dims.kernel, dims.dropout, None)
            for _ in range(dims.blocks)
        )
        self.recurrent = RecurrentStack(
            "lstm", dims.channels, dims.hidden, dims.layers, dims.bidirectional, dims.dropout
        )
        self.head = Linear(self.recurrent.n_out, vocabulary)
        self.halfway = Linear(dims.channels, vocabulary)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        x, lengths = self.frontend(features, lengths)
        mask = frame_mask(lengths, x.shape[1])
        for block in self.encoder:
            x = block(x, mask)
        middle, intermediate = x, self.halfway(x) if self.training else None
        x = self.recurrent(x, lengths)
        return Output(self.head(x), lengths, x, intermediate, middle)

    def groups(self) -> list[Group]:
        stream = [
            *Frontend.writes("frontend"),
            Slice("halfway.weight", 1),
            *self.recurrent.reads("recurrent"),
        ]
        for i, block in enumerate(self.encoder):
            assert isinstance(block, SeparableBlock)
            stream += block.stream_slices(f"encoder.{i}")
        return [
            *self.frontend.groups("frontend"),
            Group(self.dims.channels, tuple(stream)),
            *self.recurrent.groups("recurrent", "head.weight"),
        ]
