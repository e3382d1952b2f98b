"""Layer normalisation over the channels."""

from __future__ import annotations

from workers.students.base import Slice


def norm_slices(name: str) -> list[Slice]:
    """Where the stream occurs in a layer norm."""
    return [Slice(f"{name}.weight"), Slice(f"{name}.bias")]
