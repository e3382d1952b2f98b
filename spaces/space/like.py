"""What a short space file leaves to a shipped one: `like: edge`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

LIKE = "like"
# Data, teacher, targets, objectives, budgets and gates are for who writes the file to say.
_TAKEN_OVER = (
    "students",
    "task",
    "front_end",
    "streaming",
    "training",
    "distil",
    "prune",
    "quantize",
    "decode",
    "search",
)

_RULED = ("students", "front_end", "training", "distil", "prune", "quantize", "losses")


def taken_over(
    own: Mapping[str, JsonValue], other: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """The sections of another space that a file does not have; its rules only with all of what
    they may be about."""
    names = _TAKEN_OVER if any(name in own for name in _RULED) else (*_TAKEN_OVER, "forbid")
    return {name: other[name] for name in names if name in other and name not in own}
