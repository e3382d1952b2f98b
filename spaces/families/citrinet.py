"""Citrinet: separable convolutions that see the whole utterance by squeeze and excitation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from spaces.families.base import Depth, Dims, Dropout, Odd, Width


class Citrinet(Dims):
    """Blocks of separable convolutions with squeeze and excitation (arXiv 2104.01721)."""

    family: Literal["citrinet"] = "citrinet"
    channels: Width = 96
    """width"""
    blocks: Depth = 4
    """depth"""
    repeats: Annotated[int, Field(ge=1, le=8)] = 2
    """convolutions of a block"""
    kernel: Odd = 11
    """frames that a convolution sees"""
    squeeze: Annotated[int, Field(ge=1, le=64)] = 8
    """how much narrower the summary of the utterance is than a block"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.citrinet"
    streams: ClassVar[bool] = True
    capacity: ClassVar[frozenset[str]] = frozenset(("channels", "blocks", "repeats", "kernel"))
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8}
