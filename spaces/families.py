"""Dimensions of the student families: frozen records that travel in recipe and checkpoint.

A family is one record here and one file of the same name in `workers/students/`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Dims(BaseModel):
    """What all families share: how records behave. Adds no code."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("a kernel is an odd number of frames")
    return kernel


Odd = Annotated[int, Field(ge=3, le=63), AfterValidator(_odd)]
Width = Annotated[int, Field(ge=8, le=2048)]
Depth = Annotated[int, Field(ge=1, le=64)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]


class SeparableConv(Dims):
    """Residual depthwise-separable convolutions."""

    family: Literal["separable_conv"] = "separable_conv"
    channels: Width = 128
    blocks: Depth = 6
    kernel: Odd = 11
    expand: Annotated[float, Field(ge=0.25, le=8.0)] = 1.0
    dropout: Dropout = 0.1


class Conformer(Dims):
    """Conformer-CTC; attention inner size is heads * head_size, free of the channels."""

    family: Literal["conformer"] = "conformer"
    channels: Width = 96
    blocks: Depth = 4
    heads: Annotated[int, Field(ge=1, le=32)] = 4
    head_size: Annotated[int, Field(ge=4, le=128)] = 24
    feed_forward: Annotated[int, Field(ge=8, le=8192)] = 256
    kernel: Odd = 15
    dropout: Dropout = 0.1


class DsconvLstm(Dims):
    """Depthwise-separable convolutions, then LSTM layers."""

    family: Literal["dsconv_lstm"] = "dsconv_lstm"
    channels: Width = 128
    blocks: Depth = 3
    kernel: Odd = 11
    hidden: Width = 128
    layers: Annotated[int, Field(ge=1, le=8)] = 1
    bidirectional: bool = False
    dropout: Dropout = 0.1


class Recurrent(Dims):
    """GRU or LSTM layers over the subsampled features."""

    family: Literal["recurrent"] = "recurrent"
    cell: Literal["gru", "lstm"] = "gru"
    channels: Width = 96
    hidden: Width = 128
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    bidirectional: bool = False
    dropout: Dropout = 0.1


Student = Annotated[
    SeparableConv | Conformer | DsconvLstm | Recurrent, Field(discriminator="family")
]

FAMILIES: dict[str, type[Dims]] = {
    record.model_fields["family"].default: record
    for record in (SeparableConv, Conformer, DsconvLstm, Recurrent)
}
