"""Multi-head attention, written as matmul and softmax: scaled-dot-product attention fuses in no
runtime and is wrong in some."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.students.base import Group, Slice
from workers.students.blocks.linear import Linear
from workers.students.blocks.norm import norm_slices
from workers.students.chunks import Past

_CHARGE = 2.0  # in the loss, of the squared distance of the attended share from the wanted one
_HIDDEN = 1e4
_LOOKED_BACK = 64  # frames before a chunk that are looked at with it


class Attention(nn.Module):
    """Multi-head attention over the frames of each utterance, or over those of a `memory`.

    With `attended` below 1 a predictor marks key frames and only these are looked at: in training
    the others are hidden, and a key frame's mark has the gradient of its weight (straight-through);
    at inference the marked ones are gathered first, so that what is left out costs nothing.
    """

    def __init__(self, channels: int, heads: int, head_size: int, attended: float = 1.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.head_size, self.attended = head_size, attended
        self.query = Linear(channels, heads * head_size)
        self.key = Linear(channels, heads * head_size)
        self.value = Linear(channels, heads * head_size)
        self.out = Linear(heads * head_size, channels)
        self.predictor = Linear(channels, 1) if attended < 1 else None
        self.past, self.past_mask = Past(_LOOKED_BACK), Past(_LOOKED_BACK)
        self.budget_loss: Tensor | None = None  # of the last batch, until it is taken

    @property
    def heads(self) -> int:
        """As many as pruning left."""
        return self.query.out_features // self.head_size

    def forward(self, x: Tensor, mask: Tensor, memory: Tensor | None = None) -> Tensor:
        """x float32 [N, T, C]; mask float32 [N, S, 1] of what is looked at, which is x unless
        there is a memory float32 [N, S, C]."""
        x = self.norm(x)
        source = x if memory is None else memory
        if self.past.in_chunks:
            source, mask = self.past(source), self.past_mask(mask)
        if self.predictor is None:
            return self._attend(x, source, (mask - 1.0) * _HIDDEN)
        marks, is_key = self._marked(source, mask)
        if self.training:
            self.budget_loss = self._missed(marks, is_key, mask)
            chosen = (is_key.float() * mask - 1.0) * _HIDDEN
            return self._attend(x, source, chosen + _gradient_of(F.logsigmoid(marks)))
        n_keys = is_key.sum(1).amax()
        marks, places = torch.topk(marks.squeeze(2), n_keys, dim=1)  # type: ignore[arg-type]
        places = places.unsqueeze(2)
        kept = torch.gather(is_key.float(), 1, places)
        chosen = torch.gather(source, 1, places.expand(-1, -1, source.shape[2]))
        return self._attend(x, chosen, (kept - 1.0) * _HIDDEN)

    def _marked(self, source: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """How much a key each frame is, float32 [N, S, 1], and which are taken: one at least."""
        assert self.predictor is not None
        marks = self.predictor(source) + (mask - 1.0) * _HIDDEN
        return marks, (marks > 0) | (marks >= marks.amax(1, keepdim=True))

    def _missed(self, marks: Tensor, is_key: Tensor, mask: Tensor) -> Tensor:
        """How far the share of keys is from the wanted one, squared; the mean of the batch."""
        n_frames = mask.sum((1, 2))
        share = (is_key * mask).sum((1, 2)) / n_frames
        soft = (torch.sigmoid(marks) * mask).sum((1, 2)) / n_frames
        return _CHARGE * (share + _gradient_of(soft) - self.attended).square().mean()

    def _attend(self, x: Tensor, source: Tensor, hidden: Tensor) -> Tensor:
        query, key = self._split(self.query(x)), self._split(self.key(source))
        value = self._split(self.value(source))
        with torch.autocast(x.device.type, enabled=False):
            scores = torch.matmul(query * self.head_size**-0.5, key.transpose(-1, -2))
            scores = scores + hidden.transpose(1, 2).unsqueeze(1)
            mixed = torch.matmul(torch.softmax(scores, dim=-1), value)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_size)).transpose(1, 2)  # [N, heads, T, size]

    def stream_slices(self, name: str) -> list[Slice]:
        """Where the stream that is read and written occurs."""
        readers = ("query", "key", "value", *(("predictor",) if self.predictor else ()))
        return [
            *norm_slices(f"{name}.norm"),
            *(Slice(f"{name}.{reader}.weight", 1) for reader in readers),
            Slice(f"{name}.out.weight"),
            Slice(f"{name}.out.bias"),
        ]

    def group(self, name: str, heads: int) -> Group:
        """The heads."""
        slices = [
            Slice(f"{name}.{projection}.{tensor}", width=self.head_size)
            for projection in ("query", "key", "value")
            for tensor in ("weight", "bias")
        ]
        return Group(heads, (*slices, Slice(f"{name}.out.weight", 1, width=self.head_size)))


def _gradient_of(x: Tensor) -> Tensor:
    """Nothing, with the gradient of something."""
    return x - x.detach()


def taken_budget_loss(network: nn.Module) -> Tensor | None:
    """How far the attention of a network looks at other shares of the frames than it should, of
    the batch that it has just been trained on; None where it looks at all. It is told once."""
    told: list[Tensor] = []
    for module in network.modules():
        if isinstance(module, Attention) and module.budget_loss is not None:
            told.append(module.budget_loss)
            module.budget_loss = None
    return torch.stack(told).mean() if told else None
