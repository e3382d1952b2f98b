"""GRU or LSTM layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import model_validator

from spaces.families.base import Dims, Dropout, Layers, Width, hears_one_way


class Recurrent(Dims):
    """GRU or LSTM layers over the subsampled features."""

    family: Literal["recurrent"] = "recurrent"
    cell: Literal["gru", "lstm"] = "gru"
    """kind of unit"""
    channels: Width = 96
    """width of the frontend"""
    hidden: Width = 128
    """units of a layer"""
    layers: Layers = 2
    """how many"""
    bidirectional: bool = False
    """in both directions: twice the work"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.recurrent"
    streams: ClassVar[bool] = True
    capacity: ClassVar[frozenset[str]] = frozenset(("channels", "hidden", "layers"))
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8, "hidden": 8}

    _one_way = model_validator(mode="after")(hears_one_way)
