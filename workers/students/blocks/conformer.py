"""The block of a Conformer (Gulati et al., arXiv 2005.08100).

Positions come from the convolutions, so that nothing depends on the longest length seen in
training.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from spaces.families import Conformer
from workers.students.base import Group, Slice
from workers.students.blocks.attention import Attention
from workers.students.blocks.convolution import DepthwiseConv
from workers.students.blocks.linear import BatchNorm, Linear
from workers.students.blocks.norm import norm_slices

_BOTH = ("weight", "bias")


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


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward."""

    def __init__(self, dims: Conformer) -> None:
        super().__init__()
        c = dims.channels
        self.dims = dims
        self.feed_forward_1 = FeedForward(c, dims.feed_forward, dims.dropout)
        self.attention = Attention(c, dims.heads, dims.head_size, dims.attended)
        self.convolution = Convolution(c, dims.kernel)
        self.feed_forward_2 = FeedForward(c, dims.feed_forward, dims.dropout)
        self.norm = nn.LayerNorm(c)
        self.dropout = dims.dropout

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def forward(
        self, x: Tensor, mask: Tensor, memory: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """x float32 [N, T, C], mask float32 [N, T, 1]; a memory, with its mask, is what attention
        looks at instead of x itself."""
        x = x + 0.5 * self._drop(self.feed_forward_1(x))
        x = x + self._drop(self.convolution(x, mask))
        seen, seen_mask = (None, mask) if memory is None else memory
        x = x + self._drop(self.attention(x, seen_mask, seen))
        x = x + 0.5 * self._drop(self.feed_forward_2(x))
        normed: Tensor = self.norm(x)
        return normed

    def stream_slices(self, name: str) -> list[Slice]:
        out = [*norm_slices(f"{name}.norm"), *self.attention.stream_slices(f"{name}.attention")]
        for part, readers, writer in (
            ("feed_forward_1", ("up",), "down"),
            ("feed_forward_2", ("up",), "down"),
            ("convolution", ("gated",), "out"),
        ):
            out += norm_slices(f"{name}.{part}.norm")
            out += [Slice(f"{name}.{part}.{reader}.weight", 1) for reader in readers]
            out += [Slice(f"{name}.{part}.{writer}.{tensor}") for tensor in _BOTH]
        return out

    def inner_groups(self, name: str) -> list[Group]:
        dims, groups = self.dims, []
        for part in ("feed_forward_1", "feed_forward_2"):
            slices = [Slice(f"{name}.{part}.up.{tensor}") for tensor in _BOTH]
            slices.append(Slice(f"{name}.{part}.down.weight", 1))
            groups.append(Group(dims.feed_forward, tuple(slices)))
        groups.append(self.attention.group(f"{name}.attention", dims.heads))
        conv = f"{name}.convolution"
        inner = [Slice(f"{conv}.gated.{tensor}", blocks=2) for tensor in _BOTH]
        inner += [
            *DepthwiseConv.slices(f"{conv}.depthwise"),
            *BatchNorm.slices(f"{conv}.bn"),
            Slice(f"{conv}.out.weight", 1),
        ]
        groups.append(Group(dims.channels, tuple(inner)))
        return groups
