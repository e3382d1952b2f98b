"""Residual depthwise-separable convolutions: learns best from little data."""

from __future__ import annotations

from torch import Tensor, nn

from spaces.families import SeparableConv
from workers.students.base import Group, Output, Student
from workers.students.blocks.convolution import SeparableBlock
from workers.students.blocks.frontend import Frontend
from workers.students.blocks.lengths import frame_mask
from workers.students.blocks.linear import Linear
from workers.students.blocks.residual import residual_groups, run_blocks


class Network(Student):
    """Frontend, blocks, head."""

    dims: SeparableConv
    frontend: Frontend

    def __init__(self, dims: SeparableConv, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        hidden = None if dims.expand == 1 else max(8, round(dims.channels * dims.expand / 8) * 8)
        self.frontend = Frontend(dims.channels, dims.front_end.mels)
        self.encoder = nn.ModuleList(
            SeparableBlock(dims.channels, dims.kernel, dims.dropout, hidden)
            for _ in range(dims.blocks)
        )
        self.head = Linear(dims.channels, vocabulary)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        x, lengths = self.frontend(features, lengths)
        mask = frame_mask(lengths, x.shape[1])
        halfway = self.head if self.training else None
        x, middle, intermediate = run_blocks(self.encoder, x, mask, halfway)
        return Output(self.head(x), lengths, x, intermediate, middle)

    def groups(self) -> list[Group]:
        blocks = [block for block in self.encoder if isinstance(block, SeparableBlock)]
        return residual_groups(self.frontend, blocks, self.dims.channels)
