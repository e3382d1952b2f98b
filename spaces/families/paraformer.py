"""Paraformer: one pass over the tokens instead of a choice at every frame."""

from __future__ import annotations

from typing import ClassVar, Literal

from spaces.families.base import Layers
from spaces.families.conformer import Conformer


class Paraformer(Conformer):
    """Encoder, a predictor of how many tokens there are, a decoder of all at once
    (arXiv 2206.08317)."""

    family: Literal["paraformer"] = "paraformer"  # type: ignore[assignment]
    decoders: Layers = 1
    """blocks over the tokens"""

    network: ClassVar[str] = "workers.students.paraformer"
    capacity: ClassVar[frozenset[str]] = Conformer.capacity | {"decoders"}
    written_per_frame: ClassVar[int] = 2
    streams: ClassVar[bool] = False
