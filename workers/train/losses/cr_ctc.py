"""Consistency of two augmented copies of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cr_ctc_loss(logits: Tensor, lengths: Tensor) -> Tensor:
    """Symmetric KL a frame between the two halves of a batch, each taught by the other's fixed
    output (CR-CTC, arXiv 2410.05101).

    Args:
        logits: float32 [2 N, T', V], the second copy below the first.
        lengths: int64 [2 N].
    """
    first, second = F.log_softmax(logits, -1).chunk(2)
    n_rows = len(first)
    frames = torch.arange(logits.shape[1], device=logits.device)[None, :] < lengths[:n_rows, None]
    total = torch.zeros((), device=logits.device)
    for taught, teacher in ((first, second.detach()), (second, first.detach())):
        total = total + ((teacher.exp() * (teacher - taught)).sum(-1) * frames).sum()
    return total / lengths.sum()
