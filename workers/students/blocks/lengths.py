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
    return torch.div(lengths + 1, 2, rounding_mode="floor")
