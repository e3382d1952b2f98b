"""Residual depthwise-separable convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from spaces.families.base import Depth, Dims, Dropout, Odd, Width


class SeparableConv(Dims):
    """Residual depthwise-separable convolutions."""

    family: Literal["separable_conv"] = "separable_conv"
    channels: Width = 128
    """width"""
    blocks: Depth = 6
    """depth"""
    kernel: Odd = 11
    """frames that a convolution sees"""
    expand: Annotated[float, Field(ge=0.25, le=8.0)] = 1.0
    """inner width of a block over its outer"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.separable_conv"
    streams: ClassVar[bool] = True
    capacity: ClassVar[frozenset[str]] = frozenset(("channels", "blocks", "kernel", "expand"))
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8}
