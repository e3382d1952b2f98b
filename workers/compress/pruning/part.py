"""A student cut out of a larger network of its family, by what its units are worth."""

from __future__ import annotations

from spaces.families import Dims
from workers.compress.pruning.prune import prune_to, scores_of
from workers.students.base import Student
from workers.students.slicing import slice_of


def why_no_part(dims: Dims, large: Dims) -> str | None:
    """Why a student of these dimensions is no part of a larger network; None where it is."""
    if dims.family != large.family:
        return f"it is a {large.family}"
    if dims.front_end != large.front_end:
        return "it hears otherwise"
    if large.widths:
        return "it was pruned over all groups at once, and is not of one width"
    wider = [n for n in dims.prunable if getattr(dims, n) > getattr(large, n)]
    told = ", ".join(f"{n} {getattr(dims, n)} of {getattr(large, n)}" for n in wider)
    return f"the student is wider ({told})" if wider else None


def best_part(large: Student, dims: Dims) -> tuple[Student, float]:
    """A student of these dimensions that begins with the best units of a larger network, and the
    share of its parameters that come from there.

    Depth and kernels are cut as a supernet's slices are, widths by the weights of units (L1).
    """
    theirs = {name: getattr(large.dims, name) for name in dims.prunable}
    as_wide = slice_of(large, dims.model_copy(update=theirs))
    share = as_wide.share
    whole = as_wide.materialised()
    return prune_to(whole, dims, scores_of(whole, "l1")), share
