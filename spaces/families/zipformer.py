"""Conformer blocks at several frame rates."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from spaces.families.conformer import Conformer


class Zipformer(Conformer):
    """Conformer blocks, those in the middle at a lower frame rate (after arXiv 2310.11230)."""

    family: Literal["zipformer"] = "zipformer"  # type: ignore[assignment]
    slower: Annotated[int, Field(ge=2, le=8)] = 2
    """how many frames are one in the middle half of the blocks"""

    network: ClassVar[str] = "workers.students.zipformer"
