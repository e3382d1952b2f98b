"""What the stores of each noun share: the engine, and text that every database takes."""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

from storage.database import READS

Now = Callable[[], float]  # seconds since the epoch


class Table:
    """Part of a store.

    Args:
        engine: an up-to-date database.
        now: where the time of what is written comes from.
    """

    def __init__(self, engine: sa.Engine, now: Now = time.time) -> None:
        self._engine, self._now = engine, now
        self._reader = engine.execution_options(**{READS: True})


def storable(text: str | None) -> str | None:
    """What a process printed may hold a NUL, which PostgreSQL takes in no text."""
    return None if text is None else text.replace("\0", "�")
