"""A student cut out of a larger network of its family, by what its units are worth."""

from __future__ import annotations

from spaces.families import Dims
from workers.compress.pruning.prune import prune_to, scores_of
from workers.errors import UserFault
from workers.students.base import Student
from workers.students.slicing import slice_of


def best_part(large: Student, dims: Dims) -> tuple[Student, float]:
    """A student of these dimensions that begins with the best units of a larger network, and the
    share of its parameters that come from there.

    Depth and kernels are cut as a supernet's slices are, widths by the weights of units (L1).

    Raises:
        UserFault: for a network that is narrower than the student somewhere, or not of one width.
    """
    if large.dims.widths:
        raise UserFault(
            "training.start: the teacher was pruned over all groups at once: it has no part of one "
            "width that a student could begin as"
        )
    theirs = {name: getattr(large.dims, name) for name in dims.prunable}
    if wider := [name for name, size in theirs.items() if getattr(dims, name) > size]:
        told = ", ".join(f"{n} {getattr(dims, n)} of {theirs[n]}" for n in wider)
        raise UserFault(f"training.start: the student is wider than the teacher ({told})")
    as_wide = slice_of(large, dims.model_copy(update=theirs))
    share = as_wide.share
    whole = as_wide.materialised()
    return prune_to(whole, dims, scores_of(whole, "l1")), share
