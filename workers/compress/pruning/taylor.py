"""First-order Taylor: units without which the loss would change most stay (Molchanov et al., arXiv
1906.10771), each weight told by its size times its gradient."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from workers.students.base import Group

EVIDENCE = "gradients"  # |weight * gradient| of each tensor, a mean over batches


def unit_scores(group: Group, state: Mapping[str, Tensor]) -> Tensor:
    """float32 [size of the group]: how much the loss would change without each unit."""
    score = torch.zeros(group.size)
    for slice_ in group.slices:
        if slice_.tensor not in state:  # running statistics have no gradient
            continue
        shape = (slice_.blocks, group.size, slice_.width, -1)
        changes = state[slice_.tensor].movedim(slice_.axis, 0).reshape(shape)
        score += changes.sum(dim=(0, 2, 3))
    return score
