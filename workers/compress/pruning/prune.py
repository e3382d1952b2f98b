"""Structured pruning: units are really removed, file and time shrink with them.

Units that can only go together (a channel of the residual stream, a head, a gate's row with its
column in the recurrence) form a group. A rule scores the units of a group, and the best stay: a
module of `spaces.extensions.PRUNING_RULES` with a function

    def unit_scores(group: Group, state: Mapping[str, Tensor]) -> Tensor

`state` is what the network weighs, by the names of its tensors, unless the module says in
`EVIDENCE` what else its scores are taken from (`workers.train.evidence`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from spaces.extensions import PRUNING_RULES
from spaces.families import Dims
from workers.compress.pruning.widths import competing_widths, n_parameters
from workers.students.base import Student, build
from workers.students.narrow import entries, keep_units


def scores_of(
    network: Student, rule: str, evidence: Mapping[str, Tensor] | None = None
) -> list[Tensor]:
    """float32 [units] of each group of a network: how much each counts.

    Raises:
        UnknownName: when there is no such rule here.
    """
    score = PRUNING_RULES[rule].unit_scores
    state = network.state_dict() if evidence is None else evidence
    return [score(group, state) for group in network.sized_groups()]


def prune(network: Student, ratio: float, rule: str = "l1") -> Student:
    """A narrower network holding the best units of this one, the same share of every group.

    Its output differs from the parent's: it is meant to be trained again.

    Raises:
        UnknownName: when there is no such rule here.
    """
    return prune_to(network, network.dims.pruned(ratio), scores_of(network, rule))


@torch.no_grad()
def prune_to(network: Student, wanted: Dims, scores: Sequence[Tensor]) -> Student:
    """The best units of a network in a narrower one of these dimensions."""
    smaller = build(wanted, network.head.out_features)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    groups, targets = network.sized_groups(), smaller.sized_groups()
    for group, target, score in zip(groups, targets, scores, strict=True):
        units = best_units(score, target.size)
        for slice_ in group.slices:
            index = entries(slice_, group.size, units)
            state[slice_.tensor] = state[slice_.tensor].index_select(slice_.axis, index)
    smaller.load_state_dict(state)
    return smaller


def prune_competing(
    network: Student,
    wanted: Dims,
    scores: Sequence[Tensor],
    costs: Sequence[float] | None = None,
) -> Student:
    """A network with as many parameters as one of the wanted dimensions, its units chosen among
    all groups: those that count least for what they cost go first.

    Args:
        costs: of a unit of each group; its parameters where nothing is said.
    """
    whole, target = network.sized_groups(), build(wanted, network.head.out_features)
    limit = n_parameters(target, [group.size for group in target.sized_groups()])
    before = whole if wanted.widths else network.groups()
    may_shrink = [
        small.size < large.size for large, small in zip(before, target.sized_groups(), strict=True)
    ]
    widths = competing_widths(network, scores, may_shrink, limit, costs)
    made = copy.deepcopy(network)
    kept = [best_units(score, width) for score, width in zip(scores, widths, strict=True)]
    keep_units(made, whole, kept)
    made.dims = made.dims.model_copy(update={"widths": tuple(widths)})
    return made


def best_units(scores: Tensor, n_kept: int) -> Tensor:
    """int64 [n_kept]: the units with the highest scores, in their old order."""
    return scores.topk(n_kept).indices.sort().values
