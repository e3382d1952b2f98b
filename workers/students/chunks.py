"""Hearing in chunks: a batch of utterances as a batch of windows, and back.

A window is a chunk and what is looked ahead. What a network knows of the time before a window it
has from `Carried` modules: in training and in torch from the chunks before, all of which are in
the batch; in an exported streaming form from tensors that go in and come out. What was looked ahead
is computed again as part of the next window (as the right context of Emformer, arXiv 2010.10759);
convolutions see no further than their window (dynamic chunk convolution, arXiv 2304.09325).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.streaming import Streaming

if TYPE_CHECKING:
    from workers.students.base import Output


@dataclass(frozen=True)
class Chunks:
    """Frames of a chunk and of the look ahead, in a network's own frames."""

    chunk: int
    ahead: int

    @classmethod
    def of(cls, streaming: Streaming) -> Chunks:
        return cls(streaming.chunk_frames, streaming.ahead_frames)

    def body(self, n_frames: int) -> int:
        """How many frames of a window of `n_frames`, at whatever rate, are its chunk."""
        return n_frames * self.chunk // (self.chunk + self.ahead)


class Carried(nn.Module):
    """What a layer keeps of the time before a window.

    `windows` is how many windows of each utterance follow one another in the batch; None where the
    network hears whole utterances. `before` and `after` are one stream's tensors, where the state
    goes in and comes out instead.
    """

    def __init__(self) -> None:
        super().__init__()
        self.chunks: Chunks | None = None
        self.windows: int | None = None
        self.before: Tensor | None = None
        self.after: Tensor | None = None
        self.shape: tuple[int, ...] = ()  # of one stream's state, once it has been asked for

    @property
    def in_chunks(self) -> bool:
        return self.chunks is not None


class Past(Carried):
    """The `frames` frames before each window of [N, T, C]; silence before the first."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        """[N, frames + T, C]."""
        assert self.chunks is not None
        self.shape = (self.frames, x.shape[2])
        body = self.chunks.body(x.shape[1])
        if self.before is not None:
            joined = torch.cat([self.before, x], 1)
            self.after = joined[:, body : body + self.frames]
            return joined
        spoken = unfolded(x[:, :body], self.windows)
        heard = F.pad(spoken, (0, 0, self.frames, 0)).unfold(1, self.frames, body)
        heard = heard[:, : self.windows].flatten(0, 1).transpose(1, 2)
        return torch.cat([heard, x], 1)


def unfolded(x: Tensor, windows: int | None) -> Tensor:
    """Windows [N * K, T, C] one after the other: [N, K * T, C]."""
    assert windows is not None
    return x.unflatten(0, (-1, windows)).flatten(1, 2)


def folded(x: Tensor, windows: int | None) -> Tensor:
    """The same back: [N, K * T, C] as [N * K, T, C]."""
    assert windows is not None
    return x.unflatten(1, (windows, -1)).flatten(0, 1)


def convolved(conv: nn.Conv2d, past: Past, x: Tensor) -> Tensor:
    """A convolution over time of [N, T, C], half padding: [N, C, 1, T']. In chunks it reads what
    was before the window, and silence after it."""
    if not past.in_chunks:
        y: Tensor = conv(x.transpose(1, 2).unsqueeze(2))
        return y
    x = F.pad(past(x), (0, 0, 0, conv.kernel_size[1] // 2))
    x = x.transpose(1, 2).unsqueeze(2)
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)


def carriers(network: nn.Module) -> list[Carried]:
    """What of a network keeps the time before, in a fixed order."""
    return [module for module in network.modules() if isinstance(module, Carried)]


@contextmanager
def hearing_in(network: nn.Module, chunks: Chunks, windows: int | None) -> Iterator[None]:
    """The modules of a network told how the batch is cut."""
    told = carriers(network)
    for module in told:
        module.chunks, module.windows = chunks, windows
    try:
        yield
    finally:
        for module in told:
            module.chunks = module.windows = None


def cut(features: Tensor, lengths: Tensor, chunks: Chunks, rate: int) -> tuple[Tensor, Tensor, int]:
    """Utterances [N, T, mels] as windows [N * K, W, mels], how many frames of each are speech, and
    how many windows an utterance has.

    Args:
        rate: frames of features in one of the network's.
    """
    shift, window = chunks.chunk * rate, (chunks.chunk + chunks.ahead) * rate
    n_windows = max(1, -(-features.shape[1] // shift))
    padded = F.pad(features, (0, 0, 0, n_windows * shift + window - shift - features.shape[1]))
    windows = padded.unfold(1, window, shift).transpose(2, 3).flatten(0, 1)
    begins = torch.arange(n_windows, device=lengths.device) * shift
    n_frames = (lengths[:, None] - begins[None, :]).clamp(0, window).flatten()
    return windows, n_frames, n_windows


def joined(output: Output, lengths: Tensor, chunks: Chunks, windows: int, n_frames: int) -> Output:
    """What a network made of windows, as of whole utterances.

    Args:
        lengths: frames of each utterance that it writes.
        n_frames: that the longest has.
    """

    def whole(x: Tensor | None) -> Tensor | None:
        return None if x is None else unfolded(x[:, : chunks.chunk], windows)[:, :n_frames]

    logits, hidden = whole(output.logits), whole(output.hidden)
    assert logits is not None and hidden is not None
    return output._replace(
        logits=logits,
        lengths=lengths,
        hidden=hidden,
        intermediate=whole(output.intermediate),
        halfway=whole(output.halfway),
    )
