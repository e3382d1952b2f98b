"""Dense layers over spliced frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from spaces.families.base import Depth, Dims, Dropout, Odd, Width


class Dense(Dims):
    """Dense layers over each fourth frame and those around it: the DNN of hybrid recognisers."""

    family: Literal["dense"] = "dense"
    channels: Width = 256
    """units of a layer"""
    blocks: Depth = 3
    """layers after the first"""
    context: Odd = 31
    """frames of 10 ms that are seen together"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.dense"
    streams: ClassVar[bool] = True
    capacity: ClassVar[frozenset[str]] = frozenset(("channels", "blocks", "context"))
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8}
