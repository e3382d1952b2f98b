"""Conformer-CTC (Gulati et al., arXiv 2005.08100)."""

from __future__ import annotations

from torch import Tensor, nn

from spaces.families import Conformer
from workers.students.base import Group, Output, Student
from workers.students.blocks.attention import taken_budget_loss
from workers.students.blocks.conformer import ConformerBlock
from workers.students.blocks.frontend import Frontend
from workers.students.blocks.lengths import frame_mask
from workers.students.blocks.linear import Linear
from workers.students.blocks.residual import residual_groups, run_blocks


class Network(Student):
    """Frontend, Conformer blocks, head."""

    dims: Conformer
    frontend: Frontend

    def __init__(self, dims: Conformer, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = Frontend(dims.channels, dims.front_end.mels)
        self.encoder = nn.ModuleList(ConformerBlock(dims) for _ in range(dims.blocks))
        self.head = Linear(dims.channels, vocabulary)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        x, lengths = self.frontend(features, lengths)
        mask = frame_mask(lengths, x.shape[1])
        halfway = self.head if self.training else None
        x, middle, intermediate = run_blocks(self.encoder, x, mask, halfway)
        missed = taken_budget_loss(self)
        return Output(self.head(x), lengths, x, intermediate, middle, missed)

    def groups(self) -> list[Group]:
        blocks = [block for block in self.encoder if isinstance(block, ConformerBlock)]
        return residual_groups(self.frontend, blocks, self.dims.channels)
