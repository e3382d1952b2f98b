"""A stack of residual blocks between frontend and head: what such families share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from workers.students.base import Group, Slice
from workers.students.blocks.frontend import Frontend


class ResidualBlock(Protocol):
    """A block that keeps the width of the stream it adds to."""

    def stream_slices(self, name: str) -> list[Slice]:
        """Where the residual stream occurs in this block."""
        ...

    def inner_groups(self, name: str) -> list[Group]:
        """Units of the block's own."""
        ...


class Stream(NamedTuple):
    """What runs through a stack of blocks: at its end, at half its depth, and what a head makes of
    it there."""

    x: Tensor
    halfway: Tensor | None
    intermediate: Tensor | None


def run_blocks(
    blocks: Iterable[nn.Module], x: Tensor, mask: Tensor, head: Callable[[Tensor], Tensor] | None
) -> Stream:
    """The stream after all blocks, and what `head` makes of it halfway, where there is one.

    Args:
        x: float32 [N, T', C].
        mask: float32 [N, T', 1].
    """
    every, halfway = list(blocks), None
    for i, block in enumerate(every):
        x = block(x, mask)
        if i + 1 == len(every) // 2:
            halfway = x
    heard = None if head is None or halfway is None else head(halfway)
    return Stream(x, halfway, heard)


def residual_groups(
    frontend: Frontend, blocks: Iterable[ResidualBlock], channels: int
) -> list[Group]:
    """Groups of a network whose parts are called frontend, encoder and head."""
    stream = [*Frontend.writes("frontend"), Slice("head.weight", 1)]
    inner: list[Group] = []
    for i, block in enumerate(blocks):
        stream += block.stream_slices(f"encoder.{i}")
        inner += block.inner_groups(f"encoder.{i}")
    return [*frontend.groups("frontend"), Group(channels, tuple(stream)), *inner]
