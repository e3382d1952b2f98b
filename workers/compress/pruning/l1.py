"""L1: units with the largest weights stay (Li et al., arXiv 1608.08710), tensors weighted alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from workers.students.base import Group


def unit_scores(group: Group, state: Mapping[str, Tensor]) -> Tensor:
    """float32 [size of the group]: how much each unit counts; the highest are kept."""
    score = torch.zeros(group.size)
    for slice_ in group.slices:
        tensor = state[slice_.tensor]
        if tensor.ndim < 2:  # biases and statistics follow; their size says nothing
            continue
        shape = (slice_.blocks, group.size, slice_.width, -1)
        magnitude = tensor.movedim(slice_.axis, 0).reshape(shape).abs().mean(dim=(0, 2, 3))
        score += magnitude / magnitude.mean().clamp_min(1e-12)
    return score
