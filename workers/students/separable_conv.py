"""Residual depthwise-separable convolutions: learns best from little data."""

from __future__ import annotations

from torch import Tensor, nn

from spaces.families import SeparableConv
from workers.students.base import Group, Output, Slice
from workers.students.layers import Frontend, Linear, SeparableBlock, frame_mask


class Network(nn.Module):
    """Frontend, blocks, head."""

    def __init__(self, dims: SeparableConv, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        hidden = None if dims.expand == 1 else max(8, round(dims.channels * dims.expand / 8) * 8)
        self.frontend = Frontend(dims.channels)
        self.encoder = nn.ModuleList(
            SeparableBlock(dims.channels, dims.kernel, dims.dropout, hidden)
            for _ in range(dims.blocks)
        )
        self.head = Linear(dims.channels, vocabulary)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        x, lengths = self.frontend(features, lengths)
        mask = frame_mask(lengths, x.shape[1])
        intermediate = None
        for i, block in enumerate(self.encoder):
            x = block(x, mask)
            if self.training and i + 1 == len(self.encoder) // 2:
                intermediate = self.head(x)
        return Output(self.head(x), lengths, x, intermediate)

    def groups(self) -> list[Group]:
        stream = [*Frontend.writes("frontend"), Slice("head.weight", 1)]
        inner: list[Group] = []
        for i, block in enumerate(self.encoder):
            assert isinstance(block, SeparableBlock)
            stream += block.stream_slices(f"encoder.{i}")
            inner += block.inner_groups(f"encoder.{i}")
        return [*self.frontend.groups("frontend"), Group(self.dims.channels, tuple(stream)), *inner]
