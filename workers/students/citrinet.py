"""Citrinet (Majumdar et al., arXiv 2104.01721): separable convolutions with squeeze and excitation,
here over the shared frontend's quarter of the frames instead of an eighth."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from spaces.families import Citrinet
from workers.students.base import Group, Output, Slice, Student
from workers.students.blocks.convolution import DepthwiseConv
from workers.students.blocks.frontend import Frontend
from workers.students.blocks.lengths import frame_mask
from workers.students.blocks.linear import Linear, LinearNorm
from workers.students.blocks.residual import residual_groups, run_blocks
from workers.students.blocks.squeeze import SqueezeExcite


class Separable(nn.Module):
    """Depthwise then pointwise convolution, batch-normalised."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(channels, kernel)
        self.pointwise = LinearNorm(channels, channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x * mask))


class Block(nn.Module):
    """Separable convolutions, the channels weighed, beside a pointwise path past them."""

    def __init__(self, dims: Citrinet) -> None:
        super().__init__()
        c = dims.channels
        self.convolutions = nn.ModuleList(Separable(c, dims.kernel) for _ in range(dims.repeats))
        self.excite = SqueezeExcite(c, max(4, c // dims.squeeze))
        self.past = LinearNorm(c, c)
        self.channels, self.dropout = c, dims.dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = x
        for i, convolution in enumerate(self.convolutions):
            y = convolution(y if i == 0 else F.relu(y), mask)
        y = F.relu(self.excite(y, mask) + self.past(x))
        return F.dropout(y, self.dropout, self.training)

    def stream_slices(self, name: str) -> list[Slice]:
        """Where what runs from block to block is read and written."""
        first, last = (f"{name}.convolutions.{i}" for i in (0, len(self.convolutions) - 1))
        return [
            *DepthwiseConv.slices(f"{first}.depthwise"),
            *LinearNorm.reads(f"{first}.pointwise"),
            *LinearNorm.reads(f"{name}.past"),
            *LinearNorm.writes(f"{name}.past"),
            *LinearNorm.writes(f"{last}.pointwise"),
            *SqueezeExcite.stream_slices(f"{name}.excite"),
        ]

    def inner_groups(self, name: str) -> list[Group]:
        """Units between its convolutions, and of the summary."""
        groups = [self.excite.group(f"{name}.excite")]
        for i in range(1, len(self.convolutions)):
            before, after = f"{name}.convolutions.{i - 1}", f"{name}.convolutions.{i}"
            between = [
                *LinearNorm.writes(f"{before}.pointwise"),
                *DepthwiseConv.slices(f"{after}.depthwise"),
                *LinearNorm.reads(f"{after}.pointwise"),
            ]
            groups.append(Group(self.channels, tuple(between)))
        return groups


class Network(Student):
    """Frontend, blocks, head."""

    dims: Citrinet
    frontend: Frontend

    def __init__(self, dims: Citrinet, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = Frontend(dims.channels, dims.front_end.mels)
        self.encoder = nn.ModuleList(Block(dims) for _ in range(dims.blocks))
        self.head = Linear(dims.channels, vocabulary)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        x, lengths = self.frontend(features, lengths)
        mask = frame_mask(lengths, x.shape[1])
        x, middle, _ = run_blocks(self.encoder, x, mask, None)
        return Output(self.head(x), lengths, x, None, middle)

    def groups(self) -> list[Group]:
        blocks = [block for block in self.encoder if isinstance(block, Block)]
        return residual_groups(self.frontend, blocks, self.dims.channels)
