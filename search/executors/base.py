"""The contract of an executor: it carries jobs to where they run and brings results back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from workers.errors import DeviceAway, DeviceRefused, UserFault
from workers.jobs import Job, StageResult


@dataclass(frozen=True)
class Done:
    """A job that ended: a result, or an error with the last lines of its log."""

    ticket: int
    duration_s: float
    result: StageResult | None = None
    error: str | None = None
    is_user_fault: bool = False
    is_device_fault: bool = False  # a device is away, or refuses
    log: str | None = None


def said_of(error: Exception) -> dict[str, Any]:
    """An error by the fields of a `Done`: its text, with its type where it is ours."""
    text = str(error).strip()
    is_device = isinstance(error, DeviceAway | DeviceRefused)
    is_plain = is_device or isinstance(error, UserFault)
    if not is_plain or not text:
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    return {
        "error": text,
        "is_user_fault": isinstance(error, UserFault),
        "is_device_fault": is_device,
    }


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
