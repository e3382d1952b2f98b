"""Wav2Letter: plain convolutions, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from spaces.families.base import Depth, Dims, Dropout, Odd, Width


class Wav2Letter(Dims):
    """Convolutions over all channels, nothing around them (arXiv 1609.03193)."""

    family: Literal["wav2letter"] = "wav2letter"
    channels: Width = 96
    """width"""
    blocks: Depth = 4
    """depth"""
    kernel: Odd = 7
    """frames that a convolution sees"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.wav2letter"
    streams: ClassVar[bool] = True
    capacity: ClassVar[frozenset[str]] = frozenset(("channels", "blocks", "kernel"))
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8}
