"""Conformer-CTC (Gulati et al., arXiv 2005.08100), attention written as matmul and softmax.

Scaled-dot-product attention fuses in no runtime and is wrong in some; positions come from the
convolutions, so that nothing depends on the longest length seen in training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.families import Conformer
from workers.students.base import Group, Output, Slice, Student
from workers.students.blocks.convolution import DepthwiseConv
from workers.students.blocks.frontend import Frontend
from workers.students.blocks.lengths import frame_mask
from workers.students.blocks.linear import BatchNorm, Linear
from workers.students.blocks.residual import residual_groups, run_blocks

_NORM = ("weight", "bias")


def _norm_slices(name: str) -> list[Slice]:
    return [Slice(f"{name}.{tensor}") for tensor in _NORM]


class FeedForward(nn.Module):
    def __init__(self, channels: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.up = Linear(channels, inner)
        self.down = Linear(inner, channels)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        y = F.dropout(F.silu(self.up(self.norm(x))), self.dropout, self.training)
        return self.down(y)


class Attention(nn.Module):
    """Multi-head self-attention over the frames of each utterance."""

    def __init__(self, channels: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.heads, self.head_size = heads, head_size
        self.query = Linear(channels, heads * head_size)
        self.key = Linear(channels, heads * head_size)
        self.value = Linear(channels, heads * head_size)
        self.out = Linear(heads * head_size, channels)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.head_size)).transpose(1, 2)  # [N, heads, T, size]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(x)
        query, key, value = self._split(self.query(x)), self._split(self.key(x)), self.value(x)
        with torch.autocast(x.device.type, enabled=False):
            scores = torch.matmul(query * self.head_size**-0.5, key.transpose(-1, -2))
            hidden = (mask.transpose(1, 2).unsqueeze(1) - 1.0) * 1e4  # 0 on frames, -1e4 on padding
            weights = torch.softmax(scores + hidden, dim=-1)
            mixed = torch.matmul(weights, self._split(value))
        return self.out(mixed.transpose(1, 2).flatten(2))


class Convolution(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.gated = Linear(channels, 2 * channels)
        self.depthwise = DepthwiseConv(channels, kernel)
        self.bn = BatchNorm(channels)
        self.out = Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = F.glu(self.gated(self.norm(x)), dim=-1) * mask
        return self.out(F.silu(self.bn(self.depthwise(y))))


class Block(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward."""

    def __init__(self, dims: Conformer) -> None:
        super().__init__()
        c = dims.channels
        self.dims = dims
        self.feed_forward_1 = FeedForward(c, dims.feed_forward, dims.dropout)
        self.attention = Attention(c, dims.heads, dims.head_size)
        self.convolution = Convolution(c, dims.kernel)
        self.feed_forward_2 = FeedForward(c, dims.feed_forward, dims.dropout)
        self.norm = nn.LayerNorm(c)
        self.dropout = dims.dropout

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + 0.5 * self._drop(self.feed_forward_1(x))
        x = x + self._drop(self.convolution(x, mask))
        x = x + self._drop(self.attention(x, mask))
        x = x + 0.5 * self._drop(self.feed_forward_2(x))
        normed: Tensor = self.norm(x)
        return normed

    def stream_slices(self, name: str) -> list[Slice]:
        out = _norm_slices(f"{name}.norm")
        for part, readers, writer in (
            ("feed_forward_1", ("up",), "down"),
            ("feed_forward_2", ("up",), "down"),
            ("attention", ("query", "key", "value"), "out"),
            ("convolution", ("gated",), "out"),
        ):
            out += _norm_slices(f"{name}.{part}.norm")
            out += [Slice(f"{name}.{part}.{reader}.weight", 1) for reader in readers]
            out += [Slice(f"{name}.{part}.{writer}.{tensor}") for tensor in _NORM]
        return out

    def inner_groups(self, name: str) -> list[Group]:
        dims, groups = self.dims, []
        for part in ("feed_forward_1", "feed_forward_2"):
            slices = [Slice(f"{name}.{part}.up.{tensor}") for tensor in _NORM]
            slices.append(Slice(f"{name}.{part}.down.weight", 1))
            groups.append(Group(dims.feed_forward, tuple(slices)))
        heads = [
            Slice(f"{name}.attention.{projection}.{tensor}", width=dims.head_size)
            for projection in ("query", "key", "value")
            for tensor in _NORM
        ]
        heads.append(Slice(f"{name}.attention.out.weight", 1, width=dims.head_size))
        groups.append(Group(dims.heads, tuple(heads)))
        conv = f"{name}.convolution"
        inner = [Slice(f"{conv}.gated.{tensor}", blocks=2) for tensor in _NORM]
        inner += [
            *DepthwiseConv.slices(f"{conv}.depthwise"),
            *BatchNorm.slices(f"{conv}.bn"),
            Slice(f"{conv}.out.weight", 1),
        ]
        groups.append(Group(dims.channels, tuple(inner)))
        return groups


class Network(Student):
    """Frontend, Conformer blocks, head."""

    dims: Conformer
    frontend: Frontend

    def __init__(self, dims: Conformer, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = Frontend(dims.channels, dims.front_end.mels)
        self.encoder = nn.ModuleList(Block(dims) for _ in range(dims.blocks))
        self.head = Linear(dims.channels, vocabulary)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        x, lengths = self.frontend(features, lengths)
        mask = frame_mask(lengths, x.shape[1])
        halfway = self.head if self.training else None
        x, intermediate = run_blocks(self.encoder, x, mask, halfway)
        return Output(self.head(x), lengths, x, intermediate)

    def groups(self) -> list[Group]:
        blocks = [block for block in self.encoder if isinstance(block, Block)]
        return residual_groups(self.frontend, blocks, self.dims.channels)
