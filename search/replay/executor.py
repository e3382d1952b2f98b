"""Carries out jobs by looking their results up, in the time that they took."""

from __future__ import annotations

from dataclasses import dataclass

from search.clock import VirtualClock
from search.executors.base import JobOutcome, job_error
from search.progress import StageProgress
from search.replay.lookup import Answer, Lookup
from search.replay.table import Recorded
from workers.errors import WorkError
from workers.jobs import Job, key_of
from workers.results import AnyResult


@dataclass(frozen=True)
class _Running:
    ends_at: float
    outcome: JobOutcome


class ReplayExecutor:
    """Any number of jobs at a time; `poll` jumps to the end of the next.

    `n_exact` and `n_nearest` count the answers: of the very recipe, and of the nearest to it.
    """

    def __init__(self, lookup: Lookup, clock: VirtualClock) -> None:
        self._lookup, self._clock = lookup, clock
        self._running: dict[int, _Running] = {}
        self._done: set[str] = set()
        self._spent: dict[str, tuple[float, float]] = {}  # seconds, CPU seconds of trainings
        self.n_exact = self.n_nearest = 0

    def submit(self, ticket: int, job: Job) -> None:
        try:
            answer = self._lookup.answer(job)
        except WorkError as error:
            outcome = JobOutcome.failed(ticket, 0.0, job_error(error))
        else:
            outcome = self._outcome(ticket, job, answer)
        ends_at = self._clock.monotonic() + outcome.duration_s
        self._running[ticket] = _Running(ends_at, outcome)

    def _outcome(self, ticket: int, job: Job, answer: Answer) -> JobOutcome:
        self.n_exact += answer.is_exact
        self.n_nearest += not answer.is_exact
        key, recorded = key_of(job), answer.recorded
        if job.reusable and key in self._done:  # as a real executor finds it done
            result = recorded.result.model_copy(update={"reused": True, "cpu_s": 0.0})
            return JobOutcome(ticket, 0.0, result=result)
        self._done.add(key)
        duration_s, result = self._yet_to_do(job, recorded)
        return JobOutcome(ticket, duration_s, result=result)

    def _yet_to_do(self, job: Job, recorded: Recorded) -> tuple[float, AnyResult]:
        """Seconds and result of what is left of a job: a training goes on from its last rung."""
        whole = key_of(job.whole)
        duration_s, cpu_s = self._spent.get(whole, (0.0, 0.0))
        self._spent[whole] = recorded.duration_s, recorded.result.cpu_s
        left_s = max(0.0, recorded.result.cpu_s - cpu_s)
        result = recorded.result.model_copy(update={"cpu_s": left_s})
        return max(0.0, recorded.duration_s - duration_s), result

    def poll(self, timeout_s: float) -> list[JobOutcome]:
        """The jobs that end next, however far away that is."""
        if not self._running:
            self._clock.sleep(timeout_s)
            return []
        next_end = min(running.ends_at for running in self._running.values())
        self._clock.sleep(max(0.0, next_end - self._clock.monotonic()))
        ended = [t for t, running in self._running.items() if running.ends_at <= next_end]
        return [self._running.pop(ticket).outcome for ticket in ended]

    def has_artifact(self, digest: str) -> bool:  # noqa: ARG002 - nothing is kept anywhere
        return True

    def progress(self, ticket: int) -> StageProgress | None:  # noqa: ARG002
        return None

    def log(self, ticket: int) -> str | None:  # noqa: ARG002
        return None

    def cancel(self, ticket: int) -> None:
        self._running.pop(ticket, None)

    def close(self) -> None:
        self._running.clear()
