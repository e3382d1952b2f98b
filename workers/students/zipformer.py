"""Conformer blocks at several frame rates, after Zipformer (Yao et al., arXiv 2310.11230).

The blocks in the middle half hear `slower` frames as one, which makes their attention that much
squared cheaper; what they add is spread over the frames again and weighed against what went past
them, channel by channel. Of the paper's other inventions nothing is here. On short commands it did
not earn its place beside a Conformer of as many parameters (BENCHMARKS.md): it is there for longer
audio, where attention costs more, and off by default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.families import Zipformer
from workers.students.base import Group, Output, Slice, Student
from workers.students.blocks.attention import taken_budget_loss
from workers.students.blocks.conformer import ConformerBlock
from workers.students.blocks.frontend import Frontend
from workers.students.blocks.lengths import frame_mask, shared_out
from workers.students.blocks.linear import Linear
from workers.students.blocks.residual import residual_groups, run_blocks


class Slower(nn.Module):
    """Runs blocks on means of `factor` frames, and weighs what they make against what was there."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.shares = nn.Parameter(torch.zeros(factor))  # of each frame in the mean, as a softmax
        self.past = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, blocks: list[nn.Module], x: Tensor, lengths: Tensor) -> Tensor:
        """x float32 [N, T, C]; frames beyond the lengths count for nothing."""
        mask = frame_mask(lengths, x.shape[1])
        shares = torch.softmax(self.shares, 0)
        heard = self._weighed(x * mask, shares) / self._weighed(mask, shares).clamp_min(1e-6)
        n_slow = shared_out(lengths, self.factor)
        slow = run_blocks(blocks, heard, frame_mask(n_slow, heard.shape[1]), None).x
        spread = slow.repeat_interleave(self.factor, dim=1)[:, : x.shape[1]]
        return x * self.past + spread * (1 - self.past)

    def _weighed(self, x: Tensor, shares: Tensor) -> Tensor:
        """float32 [N, ceil(T / factor), C]: the weighted sum of every `factor` frames."""
        kernel = shares.view(1, 1, self.factor, 1)
        padded = F.pad(x, (0, 0, 0, self.factor - 1)).unsqueeze(1)  # a last group may be short
        return F.conv2d(padded, kernel, stride=(self.factor, 1)).squeeze(1)


class Network(Student):
    """Frontend, Conformer blocks of which the middle ones are slower, head."""

    dims: Zipformer
    frontend: Frontend

    def __init__(self, dims: Zipformer, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = Frontend(dims.channels, dims.front_end.mels)
        self.encoder = nn.ModuleList(ConformerBlock(dims) for _ in range(dims.blocks))
        self.slower = Slower(dims.channels, dims.slower)
        self.head = Linear(dims.channels, vocabulary)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        x, lengths = self.frontend(features, lengths)
        mask = frame_mask(lengths, x.shape[1])
        blocks = list(self.encoder)
        n_outer = len(blocks) // 4 or int(len(blocks) > 1)
        last = len(blocks) - (n_outer if len(blocks) > 2 else 0)
        x = run_blocks(blocks[:n_outer], x, mask, None).x
        x = middle = self.slower(blocks[n_outer:last], x, lengths)
        intermediate = self.head(middle) if self.training and last < len(blocks) else None
        x = run_blocks(blocks[last:], x, mask, None).x
        missed = taken_budget_loss(self)
        return Output(self.head(x), lengths, x, intermediate, middle, missed)

    def groups(self) -> list[Group]:
        blocks = [block for block in self.encoder if isinstance(block, ConformerBlock)]
        first, stream, *inner = residual_groups(self.frontend, blocks, self.dims.channels)
        past = Slice("slower.past")
        return [first, Group(stream.size, (*stream.slices, past)), *inner]
