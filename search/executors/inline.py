"""Runs jobs in this process, one after another: for tests and debugging.

With a `perform` function of its own, a whole search runs in seconds without training anything.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from search.executors.base import Done, said_of
from workers.jobs import Job, StageResult


class InlineExecutor:
    """Performs each job when it is polled for."""

    def __init__(self, perform: Callable[[Job], StageResult]) -> None:
        self._perform = perform
        self._waiting: deque[tuple[int, Job]] = deque()

    def submit(self, ticket: int, job: Job) -> None:
        self._waiting.append((ticket, job))

    def poll(self, timeout_s: float) -> list[Done]:
        if not self._waiting:
            time.sleep(min(timeout_s, 0.001))
            return []
        ticket, job = self._waiting.popleft()
        started = time.monotonic()
        try:
            result = self._perform(job)
        except Exception as error:
            return [Done(ticket, time.monotonic() - started, **said_of(error))]
        return [Done(ticket, time.monotonic() - started, result=result)]

    def progress(self, ticket: int) -> dict[str, Any] | None:  # noqa: ARG002
        return None

    def cancel(self, ticket: int) -> None:
        self._waiting = deque((t, j) for t, j in self._waiting if t != ticket)

    def close(self) -> None:
        self._waiting.clear()
