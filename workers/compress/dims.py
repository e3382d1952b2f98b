"""Dimensions of a pruned student. Apart from the pruning itself: planning needs no torch."""

from __future__ import annotations

from spaces.families import Student

# Rounding of what is kept: multiples that matrix kernels like; heads go one by one.
_MULTIPLES = {"channels": 8, "hidden": 8, "feed_forward": 8, "heads": 1}


def pruned_dims(dims: Student, ratio: float) -> Student:
    """Dimensions with a share `ratio` of every prunable width removed."""
    if ratio == 0:
        return dims
    kept = {}
    for name, multiple in _MULTIPLES.items():
        size = getattr(dims, name, None)
        if size is not None:
            kept[name] = min(size, max(multiple, round(size * (1 - ratio) / multiple) * multiple))
    return dims.model_copy(update=kept)
