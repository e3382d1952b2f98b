"""Losses of other packages, by the names under `losses:` of a space.

A module of the group `compression_search.losses` has

    def make_loss(network: Student) -> Callable[[Output, Batch], Tensor]

whose scalar is weighed and added to the others. Parameters of its own are not trained.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from spaces.extensions import LOSSES
from spaces.recipe import LossWeight
from workers.data.batches import Batch
from workers.students.base import Output, Student

Term = Callable[[Output, Batch], Tensor]


def extra_losses(
    wanted: tuple[LossWeight, ...], network: Student
) -> tuple[tuple[float, Term], ...]:
    """Weight and loss of each that is wanted.

    Raises:
        UnknownName: when a package is not installed here.
    """
    return tuple((w.weight, LOSSES[w.name].make_loss(network)) for w in wanted if w.weight > 0)
