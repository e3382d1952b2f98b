"""Training for live speech: a network hears one batch whole, the next in chunks of another size
(dynamic chunk training: WeNet, arXiv 2012.05481), so that the same weights do for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from workers.backends.windows import SILENCE
from workers.students.base import Student
from workers.students.chunks import Chunks

_WHOLE, _AS_SHIPPED = 0.4, 0.3  # shares of the batches; the rest is heard at random
_CHUNK_FRAMES = (4, 24)  # 160 to 960 ms
_MOST_AHEAD = 4
_MOST_SILENT_FRAMES = 12  # of the network's own, after an utterance


@contextmanager
def dynamic_chunks(network: Student) -> Iterator[None]:
    """How a network that hears in chunks hears the next batch; another hears it whole as ever.

    Drawn from torch's random numbers, which each epoch begins anew.
    """
    if network.dims.streaming is None:
        yield
        return
    shipped = Chunks.of(network.dims.streaming)
    network.chunks = _drawn(shipped)
    try:
        yield
    finally:
        network.chunks = shipped


def with_silent_end(network: Student, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Utterances with some silence after them, in which nothing is to be written: live speech does
    not end with its last word.

    Args:
        features: normalised, float32 [N, T, mels].
    """
    rate = network.dims.contract.subsampling_factor
    n_silent = int(torch.randint(0, _MOST_SILENT_FRAMES + 1, ())) * rate
    if network.dims.streaming is None or n_silent == 0:
        return features, lengths
    silent = network.normalise(torch.full_like(features[:1, :1], SILENCE))
    longer = F.pad(features, (0, 0, 0, n_silent))
    frames = torch.arange(longer.shape[1], device=lengths.device)[None, :, None]
    return torch.where(frames < lengths[:, None, None], longer, silent), lengths + n_silent


def _drawn(shipped: Chunks) -> Chunks | None:
    which = float(torch.rand(()))
    if which < _WHOLE:
        return None
    if which < _WHOLE + _AS_SHIPPED:
        return shipped
    least, most = _CHUNK_FRAMES
    chunk = int(torch.randint(least, most + 1, ()))
    return Chunks(chunk, int(torch.randint(0, _MOST_AHEAD + 1, ())))
