"""How long each utterance of a padded batch is."""

from __future__ import annotations

import torch
from torch import Tensor


def frame_mask(lengths: Tensor, n_frames: int) -> Tensor:
    """float32 [N, T, 1]: 1 on frames of the utterance, 0 on padding."""
    positions = torch.arange(n_frames, device=lengths.device)
    return (positions[None, :] < lengths[:, None]).unsqueeze(-1).to(torch.float32)


def halved(lengths: Tensor) -> Tensor:
    """Lengths after one stride-2 convolution with half padding: ceil(n / 2)."""
    return shared_out(lengths, 2)


def shared_out(lengths: Tensor, factor: int) -> Tensor:
    """ceil(n / factor). Rounded towards zero, which is down here and two operators of a graph; to
    round down in general takes nine."""
    return torch.div(lengths + (factor - 1), factor, rounding_mode="trunc")
