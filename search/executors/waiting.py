"""One job, waited for: for commands that need an answer before they go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from search.errors import StudyFault
from search.executors.base import Executor, JobOutcome
from workers.jobs import Job
from workers.results import AnyResult

_POLL_S = 0.1

Told = Callable[[str, int, int], None]


def outcome_of(job: Job, executor: Executor, tell: Told | None = None) -> JobOutcome:
    """How a job ended, whatever way.

    Args:
        tell: what it is at, how many are done, of how many.
    """
    executor.submit(0, job)
    ended: Sequence[JobOutcome] = ()
    while not ended:
        ended = executor.poll(_POLL_S)
        at = executor.progress(0) if tell and not ended else None
        if tell and at is not None:
            tell(at.what, at.done, at.of)
    return ended[0]


def result_of(job: Job, executor: Executor, tell: Told | None = None) -> AnyResult:
    """What a job gave.

    Raises:
        StudyFault: when it failed.
    """
    outcome = outcome_of(job, executor, tell)
    if outcome.result is None:
        raise StudyFault(outcome.error or "failed", outcome.is_user_fault, outcome.log)
    return outcome.result
