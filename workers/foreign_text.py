"""What a device says of itself, made fit for a terminal: no escapes, no lines of its own, no end
that never comes."""

from __future__ import annotations

MOST_CHARS = 500
_MOST_ITEMS = 1000
_MOST_DEPTH = 8


def one_line(text: object, most: int = MOST_CHARS) -> str:
    """Of bounded length, without control and formatting characters."""
    words = " ".join(str(text)[: most + 1].split())
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
    return visible if len(visible) <= most else f"{visible[:most]}…"


def cleaned(value: object, depth: int = 0) -> object:
    """What was read from JSON, with every text and name in it made fit."""
    if isinstance(value, str):
        return one_line(value)
    if depth == _MOST_DEPTH:
        return None
    if isinstance(value, dict):
        return {one_line(k): cleaned(v, depth + 1) for k, v in list(value.items())[:_MOST_ITEMS]}
    if isinstance(value, list):
        return [cleaned(v, depth + 1) for v in value[:_MOST_ITEMS]]
    return value


def cleaned_record(value: object) -> dict[str, object]:
    """The same for what has to be a mapping.

    Raises:
        ValueError: when it is none.
    """
    found = cleaned(value)
    if not isinstance(found, dict):
        raise ValueError("is not a mapping")
    return found
