"""Conformer with CTC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from spaces.families.base import Attended, Depth, Dims, Dropout, Odd, Width


class Conformer(Dims):
    """Conformer-CTC; attention inner size is heads * head_size, free of the channels."""

    family: Literal["conformer"] = "conformer"
    channels: Width = 96
    """width"""
    blocks: Depth = 4
    """depth"""
    heads: Annotated[int, Field(ge=1, le=32)] = 4
    """of attention"""
    head_size: Annotated[int, Field(ge=4, le=128)] = 24
    """of each head"""
    feed_forward: Annotated[int, Field(ge=8, le=8192)] = 256
    """inner width"""
    kernel: Odd = 15
    """frames that a convolution sees"""
    attended: Attended = 1.0
    """share of the frames that attention looks at, by its own choice; 1 is all"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.conformer"
    capacity: ClassVar[frozenset[str]] = frozenset(
        ("channels", "blocks", "heads", "head_size", "feed_forward", "kernel")
    )
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8, "feed_forward": 8, "heads": 1}
    later = Dims.later | {"attended"}
