"""Agreement with the teacher's output, frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_NEVER = -1e4  # a log-probability
_IS_SPOKEN = 0.5  # padding sums up to many times 1


def kl_per_frame(
    logits: Tensor,
    lengths: Tensor,
    teacher_log_probs: Tensor,
    temperature: float,
    where: str = "all",
) -> Tensor:
    """T^2 * KL(teacher || student) at temperature T (Hinton et al., arXiv 1503.02531), averaged
    over unpadded frames, or over those of them that `where` names (see `followed_frames`).

    Args:
        logits: float32 [N, T', V] of the student.
        lengths: int64 [N].
        teacher_log_probs: float32 [N, T', V], untempered.
    """
    teacher = F.log_softmax(teacher_log_probs / temperature, -1)
    student = F.log_softmax(logits / temperature, -1)
    frames = torch.arange(logits.shape[1], device=logits.device)[None, :] < lengths[:, None]
    divergence = (teacher.exp() * (teacher - student)).sum(-1)
    if where == "all":
        return (divergence * frames).sum() / lengths.sum() * temperature**2
    followed = followed_frames(teacher_log_probs, frames, where)
    return (divergence * followed).sum() / followed.sum().clamp_min(1) * temperature**2


def delayed(teacher_log_probs: Tensor, n_frames: int) -> Tensor:
    """The same so many frames later, blanks before it; what would come after the end is lost.

    Args:
        teacher_log_probs: float32 [N, T', V]; symbol 0 is the blank.
    """
    if n_frames == 0:
        return teacher_log_probs
    later = teacher_log_probs.roll(n_frames, 1)
    later[:, :n_frames] = _NEVER
    later[:, :n_frames, 0] = 0.0
    return later


def with_silent_end(teacher_log_probs: Tensor, n_frames: int) -> Tensor:
    """The same, with blanks until there are so many frames: of what was added to an utterance the
    teacher would have said nothing.

    Args:
        teacher_log_probs: float32 [N, T', V]; symbol 0 is the blank. Padding is zeros.
    """
    n_more = n_frames - teacher_log_probs.shape[1]
    spoken = teacher_log_probs.logsumexp(-1, keepdim=True).abs() < _IS_SPOKEN
    blank = torch.full_like(teacher_log_probs[:, :1], _NEVER)
    blank[..., 0] = 0.0
    told = torch.where(spoken, teacher_log_probs, blank)
    return told if n_more <= 0 else torch.cat([told, blank.expand(-1, n_more, -1)], 1)


def followed_frames(teacher_log_probs: Tensor, frames: Tensor, where: str) -> Tensor:
    """bool [N, T']: the frames in which a teacher says something (`speech`), or these and the
    blanks on both sides of each (`symmetric`), as far as they are there.

    Symmetric selection is of Hilmes et al., arXiv 2506.01503: without any blank a student does not
    learn where nothing is said, with all of them it learns little else.

    Args:
        teacher_log_probs: float32 [N, T', V]; symbol 0 is the blank.
        frames: bool [N, T'] of those that are no padding.
    """
    speech = (teacher_log_probs.argmax(-1) != 0) & frames
    if where == "speech":
        return speech
    beside = F.pad(speech[:, 1:], (0, 1)) | F.pad(speech[:, :-1], (1, 0))
    return (speech | beside) & frames
