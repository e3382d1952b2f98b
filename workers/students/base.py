"""The contract of a student family, and the registry of families.

A family is one record in `spaces/families.py` and one file here with a class `Network`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

from torch import Tensor, nn

from spaces.families import Dims


class Output(NamedTuple):
    """What a network says of a batch. T' is the subsampled number of frames."""

    logits: Tensor  # float32 [N, T', V]
    lengths: Tensor  # int64 [N]
    hidden: Tensor  # float32 [N, T', C]: what the head reads
    intermediate: Tensor | None  # float32 [N, T', V]: logits halfway; only while training


@dataclass(frozen=True)
class Slice:
    """Where the units of a group lie in one tensor.

    Along `axis` stand `blocks` blocks (the gates of an LSTM, the directions of its input), each
    of all units, each unit `width` entries wide (the size of a head).
    """

    tensor: str
    axis: int = 0
    blocks: int = 1
    width: int = 1


@dataclass(frozen=True)
class Group:
    """Units that can only be removed together, everywhere they occur."""

    size: int
    slices: tuple[Slice, ...]


class Student(Protocol):
    """A CTC network of one family.

    Its weights are found by name; equal dims give equal names and shapes. Padding never changes
    an utterance's output in evaluation mode.
    """

    dims: Any

    def __call__(self, features: Tensor, lengths: Tensor) -> Output:
        """features float32 [N, T, 80], lengths int64 [N]."""
        ...

    def groups(self) -> list[Group]:
        """What structured pruning may remove. Same order and number for all dims of the same
        depth, so that a pruned network's groups pair with its parent's."""
        ...


def build(dims: Dims, vocabulary: int) -> nn.Module:
    """An untrained network (it is also a `Student`)."""
    family = type(dims).model_fields["family"].default
    module = importlib.import_module(f"workers.students.{family}")
    return cast(nn.Module, module.Network(dims, vocabulary))
