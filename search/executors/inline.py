"""Runs jobs in this process, one after another: for tests and debugging.

With a `perform` function of its own, a whole search runs in seconds without training anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from search.clock import SYSTEM_CLOCK, Clock
from search.executors.base import JobOutcome, job_error
from search.progress import StageProgress
from workers.jobs import Job
from workers.results import AnyResult


class InlineExecutor:
    """Performs each job when it is polled for."""

    def __init__(self, perform: Callable[[Job], AnyResult], clock: Clock = SYSTEM_CLOCK) -> None:
        self._perform, self._clock = perform, clock
        self._waiting: deque[tuple[int, Job]] = deque()

    def submit(self, ticket: int, job: Job) -> None:
        self._waiting.append((ticket, job))

    def poll(self, timeout_s: float) -> list[JobOutcome]:
        if not self._waiting:
            self._clock.sleep(min(timeout_s, 0.001))
            return []
        ticket, job = self._waiting.popleft()
        started = self._clock.monotonic()
        try:
            result = self._perform(job)
        except Exception as error:
            duration_s = self._clock.monotonic() - started
            return [JobOutcome.failed(ticket, duration_s, job_error(error))]
        return [JobOutcome(ticket, self._clock.monotonic() - started, result=result)]

    def has_artifact(self, digest: str) -> bool:  # noqa: ARG002 - nothing is kept anywhere
        return True

    def progress(self, ticket: int) -> StageProgress | None:  # noqa: ARG002
        return None

    def log(self, ticket: int) -> str | None:  # noqa: ARG002
        return None

    def cancel(self, ticket: int) -> None:
        self._waiting = deque((t, j) for t, j in self._waiting if t != ticket)

    def close(self) -> None:
        self._waiting.clear()
