"""A stack of residual blocks between frontend and head: what such families share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

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


def run_blocks(
    blocks: nn.ModuleList, x: Tensor, mask: Tensor, head: Callable[[Tensor], Tensor] | None
) -> tuple[Tensor, Tensor | None]:
    """The stream after all blocks, and what `head` makes of it halfway, where there is one.

    Args:
        x: float32 [N, T', C].
        mask: float32 [N, T', 1].
    """
    intermediate = None
    for i, block in enumerate(blocks):
        x = block(x, mask)
        if head is not None and i + 1 == len(blocks) // 2:
            intermediate = head(x)
    return x, intermediate


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
