"""Agreement with the teacher's output, frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def kl_per_frame(
    logits: Tensor, lengths: Tensor, teacher_log_probs: Tensor, temperature: float
) -> Tensor:
    """T^2 * KL(teacher || student) at temperature T (Hinton et al., arXiv 1503.02531), averaged
    over unpadded frames.

    Args:
        logits: float32 [N, T', V] of the student.
        lengths: int64 [N].
        teacher_log_probs: float32 [N, T', V], untempered.
    """
    teacher = F.log_softmax(teacher_log_probs / temperature, -1)
    student = F.log_softmax(logits / temperature, -1)
    frames = torch.arange(logits.shape[1], device=logits.device)[None, :] < lengths[:, None]
    divergence = (teacher.exp() * (teacher - student)).sum(-1)
    return (divergence * frames).sum() / lengths.sum() * temperature**2
