"""Convolutions over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.students.base import Group, Slice
from workers.students.blocks.linear import BatchNorm, LinearNorm
from workers.students.chunks import Past, convolved


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
        self.past = Past(kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y = convolved(self.conv, self.past, x)
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


class ConvNorm(nn.Module):
    """Convolution over time of [N, T, C], half padding, then batch normalisation; at inference one
    convolution with the norm folded in."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            n_in, n_out, (1, kernel), stride=(1, stride), padding=(0, kernel // 2), bias=False
        )
        self.bn = BatchNorm(n_out)
        self.past = Past(kernel // 2)
        self.folded: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.folded is not None:
            return convolved(self.folded, self.past, x).squeeze(2).transpose(1, 2)
        y = convolved(self.conv, self.past, x)
        return self.bn(y.float().squeeze(2).transpose(1, 2))

    def fold(self) -> None:
        """Make the norm part of the convolution; for good, before an export."""
        self.folded = folded_convolution(self.conv, self.bn)

    @staticmethod
    def reads(name: str) -> list[Slice]:
        return [Slice(f"{name}.conv.weight", axis=1)]

    @staticmethod
    def writes(name: str) -> list[Slice]:
        return [Slice(f"{name}.conv.weight"), *BatchNorm.slices(f"{name}.bn")]


def folded_convolution(conv: nn.Conv2d, bn: BatchNorm) -> nn.Conv2d:
    """One convolution that does what both do at inference."""
    scale, shift = bn.scale_and_shift()
    made = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
    ).requires_grad_(False)
    made.weight.copy_(conv.weight * scale[:, None, None, None])
    assert made.bias is not None
    made.bias.copy_(shift)
    return made
