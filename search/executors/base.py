"""The contract of an executor: it carries jobs to where they run and brings results back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from workers.errors import UserFault
from workers.jobs import Job, StageResult


@dataclass(frozen=True)
class Done:
    """A job that ended: a result, or an error with the last lines of its log."""

    ticket: int
    duration_s: float
    result: StageResult | None = None
    error: str | None = None
    is_user_fault: bool = False
    log: str | None = None


def said_of(error: Exception) -> tuple[str, bool]:
    """An error as a `Done` tells it: its text, with its type where it is ours, and whether it is
    the user's."""
    text = str(error).strip()
    if isinstance(error, UserFault):
        return text or type(error).__name__, True
    return f"{type(error).__name__}: {text}" if text else type(error).__name__, False


class Executor(Protocol):
    """Runs jobs in processes of their own. A crash, a hang or an OOM ends one job, as a `Done`
    with an error; a cancelled job brings no `Done`."""

    def submit(self, ticket: int, job: Job) -> None:
        """Start a job; returns at once. Tickets are the caller's, each used once."""
        ...

    def poll(self, timeout_s: float) -> list[Done]:
        """Jobs that ended since; waits up to `timeout_s` for the first."""
        ...

    def progress(self, ticket: int) -> dict[str, Any] | None:
        """What a running job last said of itself: {"what", "done", "of"}."""
        ...

    def cancel(self, ticket: int) -> None:
        """End a job; what it has on disk stays for a later attempt."""
        ...

    def close(self) -> None:
        """End all jobs."""
        ...
