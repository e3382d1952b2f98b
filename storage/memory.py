"""A store that is gone with its process: for tests, simulations and replays."""

from __future__ import annotations

import time

from storage.rows import Now
from storage.store import Store

IN_MEMORY = "sqlite://"


def memory_store(now: Now = time.time) -> Store:
    """An empty store without a file. Every thread and everybody who holds it sees the same."""
    return Store(IN_MEMORY, now)
