"""Connectionist temporal classification."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def ctc_per_frame(
    logits: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor
) -> Tensor:
    """CTC (Graves et al., 2006) summed over the batch, divided by its frames.

    Args:
        logits: float32 [N, T', V].
        lengths: int64 [N].
        targets: int64 [sum of target_lengths].
        target_lengths: int64 [N].
    """
    log_probs = F.log_softmax(logits, -1).transpose(0, 1)
    if log_probs.device.type == "mps":  # torch has no CTC there
        log_probs, targets, lengths, target_lengths = (
            tensor.cpu() for tensor in (log_probs, targets, lengths, target_lengths)
        )
    total = F.ctc_loss(
        log_probs, targets, lengths, target_lengths, reduction="sum", zero_infinity=True
    )
    return (total / lengths.sum()).to(logits.device)
