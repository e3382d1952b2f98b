"""Structured pruning by L1 norm: units are really removed, file and time shrink with them.

Units that can only go together (a channel of the residual stream, a head, a gate's row with its
column in the recurrence) form a group; each is scored by the summed magnitude of its weights
(Li et al., arXiv 1608.08710), tensors weighted alike, and the strongest stay.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spaces.families import Dims
from workers.compress.dims import pruned_dims
from workers.students.base import Group, Slice, build


@torch.no_grad()
def prune(network: nn.Module, ratio: float) -> nn.Module:
    """A narrower network holding the strongest units of this one.

    Its output differs from the parent's: it is meant to be trained again.
    """
    dims: Dims = network.dims  # type: ignore[assignment]
    state = {k: v.clone() for k, v in network.state_dict().items()}
    vocabulary = network.head.out_features  # type: ignore[union-attr]
    smaller = build(pruned_dims(dims, ratio), int(vocabulary))  # type: ignore[arg-type]
    groups, targets = network.groups(), smaller.groups()  # type: ignore[operator]
    kept = [
        strongest(group, state, target.size) for group, target in zip(groups, targets, strict=True)
    ]
    for group, units in zip(groups, kept, strict=True):
        for slice_ in group.slices:
            index = entries(slice_, group.size, units)
            state[slice_.tensor] = state[slice_.tensor].index_select(slice_.axis, index)
    smaller.load_state_dict(state)
    return smaller


def strongest(group: Group, state: dict[str, Tensor], n_kept: int) -> Tensor:
    """int64 [n_kept]: the units of a group with the largest weights, in their old order."""
    score = torch.zeros(group.size)
    for slice_ in group.slices:
        tensor = state[slice_.tensor]
        if tensor.ndim < 2:  # biases and statistics follow; their size says nothing
            continue
        shape = (slice_.blocks, group.size, slice_.width, -1)
        magnitude = tensor.movedim(slice_.axis, 0).reshape(shape).abs().mean(dim=(0, 2, 3))
        score += magnitude / magnitude.mean().clamp_min(1e-12)
    return score.topk(n_kept).indices.sort().values


def entries(slice_: Slice, size: int, units: Tensor) -> Tensor:
    """Indices along the axis of a slice that belong to these units."""
    every = torch.arange(slice_.blocks * size * slice_.width)
    return every.view(slice_.blocks, size, slice_.width)[:, units].flatten()
