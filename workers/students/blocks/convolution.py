"""Convolutions over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.students.base import Group, Slice
from workers.students.blocks.linear import LinearNorm


class DepthwiseConv(nn.Module):
    """Depthwise convolution over time of [N, T, C], half padding."""

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels,
            channels,
            (1, kernel),
            stride=(1, stride),
            padding=(0, kernel // 2),
            groups=channels,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y = self.conv(x.transpose(1, 2).unsqueeze(2))
        return y.squeeze(2).transpose(1, 2)

    @staticmethod
    def slices(name: str) -> list[Slice]:
        return [Slice(f"{name}.conv.weight")]


class SeparableBlock(nn.Module):
    """Depthwise then pointwise convolution, batch-normalised, with a residual (QuartzNet,
    arXiv 1910.10261); with `hidden`, an inverted bottleneck of that width (MobileNetV2,
    arXiv 1801.04381)."""

    def __init__(self, channels: int, kernel: int, dropout: float, hidden: int | None) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(channels, kernel)
        self.pointwise = LinearNorm(channels, hidden or channels)
        self.project = LinearNorm(hidden, channels) if hidden else None
        self.hidden = hidden
        self.dropout = dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = F.relu(self.pointwise(self.depthwise(x * mask)))
        if self.project is not None:
            y = self.project(y)
        return x + F.dropout(y, self.dropout, self.training)

    def stream_slices(self, name: str) -> list[Slice]:
        """Where the residual stream occurs in this block."""
        out = "project" if self.project is not None else "pointwise"
        return [
            *DepthwiseConv.slices(f"{name}.depthwise"),
            *LinearNorm.reads(f"{name}.pointwise"),
            *LinearNorm.writes(f"{name}.{out}"),
        ]

    def inner_groups(self, name: str) -> list[Group]:
        if self.hidden is None:
            return []
        slices = [*LinearNorm.writes(f"{name}.pointwise"), *LinearNorm.reads(f"{name}.project")]
        return [Group(self.hidden, tuple(slices))]
