"""Learned gates: units stay whose gates stay open when open gates are charged for (Louizos et al.,
arXiv 1712.01312)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from workers.students.base import Group

EVIDENCE = "gates"  # how far each gate is open, by the name of its group


def gate_name(group: Group) -> str:
    """What the gates of a group are called: by the first place of its units."""
    first = group.slices[0]
    return f"{first.tensor}.{first.axis}"


def unit_scores(group: Group, state: Mapping[str, Tensor]) -> Tensor:
    """float32 [size of the group]: the log-odds of each gate."""
    return state[gate_name(group)]
