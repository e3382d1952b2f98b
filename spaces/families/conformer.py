"""Conformer with CTC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

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
    streams: ClassVar[bool] = True
    capacity: ClassVar[frozenset[str]] = frozenset(
        ("channels", "blocks", "heads", "head_size", "feed_forward", "kernel")
    )
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8, "feed_forward": 8, "heads": 1}
    later = Dims.later | {"attended"}

    @model_validator(mode="after")
    def _looks_at_all(self) -> Self:
        if self.streaming is not None and self.attended < 1:
            raise ValueError("attended is 1 where speech is live: key frames are of an utterance")
        return self
