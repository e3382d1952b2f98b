"""The contract of an executor: it carries jobs to where they run and brings results back."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Protocol

from search.progress import StageProgress
from spaces.record import Record
from storage.errors import ArtifactError
from workers.errors import DeviceRefused, DeviceUnreachable, Killed, LostInput, UserFault
from workers.jobs import Job
from workers.results import AnyResult


class JobError(Record):
    """What went wrong in a job, and whose fault it is."""

    error: str
    is_user_fault: bool = False
    is_device_fault: bool = False  # a device is away, or refuses
    is_environment_fault: bool = False  # the disk, the memory, a lost file of this host


@dataclass(frozen=True)
class JobOutcome:
    """A job that ended: a result, or an error with the last lines of its log."""

    ticket: int
    duration_s: float
    result: AnyResult | None = None
    error: str | None = None
    is_user_fault: bool = False
    is_device_fault: bool = False
    is_environment_fault: bool = False
    log: str | None = None

    @classmethod
    def failed(
        cls, ticket: int, duration_s: float, error: JobError, log: str | None = None
    ) -> JobOutcome:
        return cls(
            ticket,
            duration_s,
            error=error.error,
            is_user_fault=error.is_user_fault,
            is_device_fault=error.is_device_fault,
            is_environment_fault=error.is_environment_fault,
            log=log,
        )


def job_error(error: Exception) -> JobError:
    """An exception in words, with its type where it is our fault."""
    text = str(error).strip()
    is_device = isinstance(error, DeviceUnreachable | DeviceRefused)
    is_plain = is_device or isinstance(error, UserFault | Killed)
    if not is_plain or not text:
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    return JobError(
        error=text,
        is_user_fault=isinstance(error, UserFault),
        is_device_fault=is_device,
        is_environment_fault=is_environment_fault(error),
    )


# What a host does to whoever works on it, whatever the recipe.
_OF_THE_HOST = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.EROFS,
        errno.ESTALE,
    )
)


def is_environment_fault(error: BaseException) -> bool:
    """Whether disk, memory or cache of the host are to blame, wherever in the chain of causes."""
    if isinstance(error, MemoryError | ArtifactError | LostInput | Killed):
        return True
    if isinstance(error, OSError) and error.errno in _OF_THE_HOST:
        return True
    return error.__cause__ is not None and is_environment_fault(error.__cause__)


class Executor(Protocol):
    """Runs jobs in processes of their own. A crash, a hang or an OOM ends one job, as an outcome
    with an error; a cancelled job has no outcome."""

    def submit(self, ticket: int, job: Job) -> None:
        """Start a job; returns at once. Tickets are the caller's, each used once.

        Raises:
            EnvironmentFault: when this host does not let it start.
        """
        ...

    def poll(self, timeout_s: float) -> list[JobOutcome]:
        """Jobs that ended since; waits up to `timeout_s` for the first."""
        ...

    def has_artifact(self, digest: str) -> bool:
        """Whether a file that a job made is still there."""
        ...

    def progress(self, ticket: int) -> StageProgress | None:
        """What a running job last said of itself."""
        ...

    def log(self, ticket: int) -> str | None:
        """The last lines that a running job has written."""
        ...

    def cancel(self, ticket: int) -> None:
        """End a job; what it has on disk stays for a later attempt."""
        ...

    def close(self) -> None:
        """End all jobs."""
        ...
