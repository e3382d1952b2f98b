"""Convolutions, then LSTM layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import model_validator

from spaces.families.base import Depth, Dims, Dropout, Layers, Odd, Width, hears_one_way


class DsconvLstm(Dims):
    """Depthwise-separable convolutions, then LSTM layers."""

    family: Literal["dsconv_lstm"] = "dsconv_lstm"
    channels: Width = 128
    """width of the convolutions"""
    blocks: Depth = 3
    """how many convolutions"""
    kernel: Odd = 11
    """frames that a convolution sees"""
    hidden: Width = 128
    """units of an LSTM layer"""
    layers: Layers = 1
    """LSTM layers"""
    bidirectional: bool = False
    """in both directions: twice the work"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.dsconv_lstm"
    streams: ClassVar[bool] = True
    capacity: ClassVar[frozenset[str]] = frozenset(
        ("channels", "blocks", "kernel", "hidden", "layers")
    )
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8, "hidden": 8}

    _one_way = model_validator(mode="after")(hears_one_way)
