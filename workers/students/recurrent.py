"""GRU or LSTM layers over the subsampled features."""

from __future__ import annotations

from torch import Tensor

from spaces.families import Recurrent
from workers.students.base import Group, Output, Student
from workers.students.blocks.frontend import Frontend
from workers.students.blocks.linear import Linear
from workers.students.blocks.recurrent import RecurrentStack


class Network(Student):
    """Frontend, recurrent layers, head."""

    dims: Recurrent
    frontend: Frontend

    def __init__(self, dims: Recurrent, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = Frontend(dims.channels, dims.front_end.mels)
        self.encoder = RecurrentStack(
            dims.cell, dims.channels, dims.hidden, dims.layers, dims.bidirectional, dims.dropout
        )
        self.head = Linear(self.encoder.n_out, vocabulary)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        x, lengths = self.frontend(features, lengths)
        x = self.encoder(x, lengths)
        return Output(self.head(x), lengths, x, None)

    def groups(self) -> list[Group]:
        stream = (*Frontend.writes("frontend"), *self.encoder.reads("encoder"))
        return [
            *self.frontend.groups("frontend"),
            Group(self.dims.channels, stream),
            *self.encoder.groups("encoder", "head.weight"),
        ]
