"""Structured pruning: units are really removed, file and time shrink with them.

Units that can only go together (a channel of the residual stream, a head, a gate's row with its
column in the recurrence) form a group. A rule scores the units of a group, and the best stay: a
module of `spaces.extensions.PRUNING_RULES` with a function

    def unit_scores(group: Group, state: Mapping[str, Tensor]) -> Tensor
"""

from __future__ import annotations

import torch
from torch import Tensor

from spaces.extensions import PRUNING_RULES
from workers.students.base import Slice, Student, build


@torch.no_grad()
def prune(network: Student, ratio: float, rule: str = "l1") -> Student:
    """A narrower network holding the best units of this one.

    Its output differs from the parent's: it is meant to be trained again.

    Raises:
        UnknownName: when there is no such rule here.
    """
    state = {k: v.clone() for k, v in network.state_dict().items()}
    smaller = build(network.dims.pruned(ratio), network.head.out_features)
    score = PRUNING_RULES[rule].unit_scores
    groups, targets = network.groups(), smaller.groups()
    kept = [
        best_units(score(group, state), target.size)
        for group, target in zip(groups, targets, strict=True)
    ]
    for group, units in zip(groups, kept, strict=True):
        for slice_ in group.slices:
            index = entries(slice_, group.size, units)
            state[slice_.tensor] = state[slice_.tensor].index_select(slice_.axis, index)
    smaller.load_state_dict(state)
    return smaller


def best_units(scores: Tensor, n_kept: int) -> Tensor:
    """int64 [n_kept]: the units with the highest scores, in their old order."""
    return scores.topk(n_kept).indices.sort().values


def entries(slice_: Slice, size: int, units: Tensor) -> Tensor:
    """Indices along the axis of a slice that belong to these units."""
    every = torch.arange(slice_.blocks * size * slice_.width)
    return every.view(slice_.blocks, size, slice_.width)[:, units].flatten()
