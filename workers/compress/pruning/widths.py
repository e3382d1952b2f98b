"""How wide each group stays when units of all groups compete."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from workers.students.base import Student
from workers.students.slicing import pieces_of

_MULTIPLE = 8  # widths that matrix kernels run well
_LEAST = 0.1  # of a group: without it nothing gets through


def n_parameters(network: Student, widths: Sequence[int]) -> int:
    """How many parameters a network would have with these widths of its groups."""
    sizes = {
        f"{group.slices[0].tensor}.{group.slices[0].axis}": width
        for group, width in zip(network.sized_groups(), widths, strict=True)
    }
    pieces = pieces_of(network)
    return sum(
        math.prod(
            extent.blocks * sizes.get(extent.group, extent.size) * extent.width
            for extent in pieces[name].extents
        )
        for name, _ in network.named_parameters()
    )


def competing_widths(
    network: Student,
    scores: Sequence[Tensor],
    may_shrink: Sequence[bool],
    limit: int,
    costs: Sequence[float] | None = None,
) -> list[int]:
    """The widths at which a network has at most `limit` parameters, or the narrowest there are,
    when units go by their score for their cost.

    Args:
        scores: float32 [units] of each group, comparable between groups.
        costs: of a unit of each group; its parameters where nothing is said.
    """
    groups = network.sized_groups()
    full = [group.size for group in groups]
    every = n_parameters(network, full)
    if costs is None:
        costs = [
            every - n_parameters(network, [s - (i == j) for j, s in enumerate(full)])
            for i in range(len(full))
        ]
    weakest = sorted(
        (float(score) / max(cost, 1e-12), i)
        for i, (group_scores, cost) in enumerate(zip(scores, costs, strict=True))
        if may_shrink[i]
        for score in group_scores
    )
    low, high = 0, len(weakest)  # the fewest that have to go
    while low < high:
        middle = (low + high) // 2
        if n_parameters(network, _without(full, weakest[:middle])) <= limit:
            high = middle
        else:
            low = middle + 1
    return _without(full, weakest[:low])


def _without(full: Sequence[int], gone: Sequence[tuple[float, int]]) -> list[int]:
    """Widths after these units went, at kernels' multiples and not below what each group needs."""
    n_gone = [0] * len(full)
    for _, i in gone:
        n_gone[i] += 1
    widths = []
    for size, n in zip(full, n_gone, strict=True):
        multiple = _MULTIPLE if size % _MULTIPLE == 0 else 1
        kept = round((size - n) / multiple) * multiple
        least = max(multiple, math.ceil(size * _LEAST / multiple) * multiple)
        widths.append(min(size, max(least, kept)) if n else size)
    return widths
