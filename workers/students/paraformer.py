"""Paraformer (Gao et al., arXiv 2206.08317): all tokens in one pass.

An encoder hears; a predictor says of each frame how much of a token it is (continuous integrate
and fire, arXiv 1905.11235); frames are summed up to tokens, and a decoder writes all of them at
once. CTC on the encoder is trained beside it, and is what follows a teacher's frames.

What is written is what any CTC recogniser reads: two places a frame, blank first, then the token
that is full at this frame, or blank. sherpa-onnx has a door of its own for Paraformer, but its
front end is another one than ours (hamming windows, seven frames stacked, 16-bit scale), so that
students go through the door that they all take.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.families import Paraformer
from workers.students.base import Group, Output, Slice, Student, Targets
from workers.students.blocks.attention import taken_budget_loss
from workers.students.blocks.conformer import ConformerBlock
from workers.students.blocks.convolution import DepthwiseConv
from workers.students.blocks.frontend import Frontend
from workers.students.blocks.lengths import frame_mask
from workers.students.blocks.linear import Linear
from workers.students.blocks.residual import residual_groups, run_blocks

_FULL = 0.05  # of a token may be missing where it is written: rounding, and frames cut to one
_SURE = 30.0  # the logit of a blank that is one
_LEAST_TOKENS = 2  # that are decoded: of one place there are no statistics
_GLANCED = 0.75  # of the tokens that a first pass got wrong, these are told


class Predictor(nn.Module):
    """How much of a token each frame is, float32 [N, T], 0 to 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(channels, 3)
        self.linear = Linear(channels, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        weights = torch.sigmoid(self.linear(F.relu(self.depthwise(x * mask) + x))) * mask
        return weights.squeeze(2)

    @staticmethod
    def reads(name: str) -> list[Slice]:
        return [*DepthwiseConv.slices(f"{name}.depthwise"), Slice(f"{name}.linear.weight", 1)]


class Network(Student):
    """Frontend, Conformer blocks, predictor, blocks over tokens, head."""

    dims: Paraformer
    frontend: Frontend

    training_only = ("embed", "ctc")
    reads_targets = True

    def __init__(self, dims: Paraformer, vocabulary: int) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = Frontend(dims.channels, dims.front_end.mels)
        self.encoder = nn.ModuleList(ConformerBlock(dims) for _ in range(dims.blocks))
        self.predictor = Predictor(dims.channels)
        self.decoder = nn.ModuleList(ConformerBlock(dims) for _ in range(dims.decoders))
        self.head = Linear(dims.channels, vocabulary)
        self.ctc = Linear(dims.channels, vocabulary)
        self.embed = nn.Embedding(vocabulary, dims.channels)

    def forward(self, features: Tensor, lengths: Tensor, targets: Targets | None = None) -> Output:
        """In training the logits are those of CTC on the encoder, [N, T', V], and `own_loss` is of
        the tokens, where there are targets; else they are what is written, [N, 2 T', V]."""
        x, lengths = self.frontend(features, lengths)
        mask = frame_mask(lengths, x.shape[1])
        x, middle, halfway = run_blocks(self.encoder, x, mask, self.ctc if self.training else None)
        full = self.predictor(x, mask)
        if not self.training:
            return Output(self._written(x, mask, full), 2 * lengths, x, None, middle)
        losses = [self._token_loss(x, mask, full, targets)] if targets is not None else []
        missed = taken_budget_loss(self)
        losses += [] if missed is None else [missed]
        own = torch.stack(losses).sum() if losses else None
        return Output(self.ctc(x), lengths, x, halfway, middle, own)

    def _decoded(self, tokens: Tensor, n_tokens: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        token_mask = frame_mask(n_tokens, tokens.shape[1])
        for block in self.decoder:
            tokens = block(tokens, token_mask, (x, mask))
        return self.head(tokens)

    def _token_loss(self, x: Tensor, mask: Tensor, full: Tensor, targets: Targets) -> Tensor:
        """Cross entropy of the tokens and how far their number is missed, per frame, as CTC is.
        The tokens are decoded twice: the second time some of those that were wrong are told."""
        wanted = targets.lengths.float()
        total = full.sum(1)
        scaled = full * (wanted / total.clamp_min(1e-6)).unsqueeze(1)
        ids = torch.nn.utils.rnn.pad_sequence(
            list(targets.ids.split(targets.lengths.tolist())), batch_first=True
        )
        ids = F.pad(ids, (0, max(0, _LEAST_TOKENS - ids.shape[1])))
        summed = summed_to_tokens(x, scaled, ids.shape[1])
        there = frame_mask(targets.lengths, ids.shape[1]).squeeze(2)
        with torch.no_grad():
            first = self._decoded(summed, targets.lengths, x, mask).argmax(-1)
            n_wrong = ((first != ids) * there).sum(1, keepdim=True)
            chance = _GLANCED * n_wrong / targets.lengths.unsqueeze(1).clamp_min(1)
            told = torch.rand(ids.shape, device=ids.device) < chance
        glanced = torch.where(told.unsqueeze(2), self.embed(ids), summed)
        logits = self._decoded(glanced, targets.lengths, x, mask)
        entropy = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
        missed = ((total - wanted).abs() * wanted).sum()  # beside the mean over tokens, as there
        return ((entropy * there).sum() + missed) / mask.sum()

    def _written(self, x: Tensor, mask: Tensor, full: Tensor) -> Tensor:
        total = full.sum(1, keepdim=True)
        whole = torch.floor(total + 0.5).clamp_min(1)  # a number of tokens, as in training
        full = (full * whole / total.clamp_min(1e-6)).clamp_max(1)  # one a frame at most
        so_far = torch.cumsum(full, 1)
        n_full = torch.floor(so_far + _FULL).long()  # tokens, by the end of each frame
        n_tokens = n_full[:, -1]
        most = n_tokens.amax().clamp_min(1)
        logits = self._decoded(summed_to_tokens(x, full, most), n_tokens, x, mask)
        blank = F.one_hot(torch.zeros_like(n_full), logits.shape[2]) * _SURE
        at = (n_full - 1).clamp_min(0).unsqueeze(2).expand(-1, -1, logits.shape[2])
        token = torch.gather(logits, 1, at) - blank
        fires = n_full > F.pad(n_full[:, :-1], (1, 0))
        written = torch.where(fires.unsqueeze(2), token, blank)
        return torch.stack([blank, written], 2).flatten(1, 2)

    def groups(self) -> list[Group]:
        encoder = [block for block in self.encoder if isinstance(block, ConformerBlock)]
        decoder = [block for block in self.decoder if isinstance(block, ConformerBlock)]
        first, stream, *inner = residual_groups(self.frontend, encoder, self.dims.channels)
        slices = [*stream.slices, *Predictor.reads("predictor")]
        slices += [Slice("ctc.weight", 1), Slice("embed.weight", 1)]
        for i, block in enumerate(decoder):
            slices += block.stream_slices(f"decoder.{i}")
            inner += block.inner_groups(f"decoder.{i}")
        return [first, Group(stream.size, tuple(slices)), *inner]


def summed_to_tokens(x: Tensor, full: Tensor, n_tokens: Tensor | int) -> Tensor:
    """float32 [N, n_tokens, C]: frames summed up to tokens, each frame split where one is full
    (continuous integrate and fire, Dong and Xu, arXiv 1905.11235; here without a loop, as a matrix
    of how far each frame and each token overlap).

    Args:
        x: float32 [N, T, C].
        full: float32 [N, T]: how much of a token each frame is.
    """
    end = torch.cumsum(full, 1).unsqueeze(1)
    begin = end - full.unsqueeze(1)
    token = torch.arange(n_tokens, device=x.device)  # type: ignore[arg-type]
    token = token.float().view(1, -1, 1)
    overlap = torch.minimum(end, token + 1) - torch.maximum(begin, token)
    return torch.matmul(overlap.clamp_min(0), x)
