"""The jobs of a study that run, and the loop around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from search.clock import Clock
from search.errors import EnvironmentFault
from search.executors.base import Executor, JobOutcome
from search.study.commands import CommandHandler
from search.study.device_backoff import DeviceBackoff
from search.study.interrupts import noticing_interrupts
from search.study.ledger import Ledger, Ticket
from search.study.live import LiveView
from search.study.outcomes import OutcomeHandler
from storage.records import StudyState
from workers.jobs import Job, Measure, name_of

Take = Callable[[Ticket, bool], None]  # a job has ended, and whether its stage is done


class UnderWay:
    """Jobs by ticket: started, asked after, ended or cancelled."""

    def __init__(
        self,
        executor: Executor,
        outcomes: OutcomeHandler,
        backoff: DeviceBackoff,
        clock: Clock,
    ) -> None:
        self._executor, self._outcomes = executor, outcomes
        self._backoff, self._clock = backoff, clock
        self._tickets: dict[int, Ticket] = {}
        self._n_tickets = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def __iter__(self) -> Iterator[Ticket]:
        return iter(self._tickets.values())

    def has(self, number: int | None) -> bool:
        """Whether a job of a trial runs, or of the study itself (None)."""
        return any(ticket.trial == number for ticket in self)

    def unavailable_targets(self) -> set[str]:
        """Targets on which nothing can be measured now."""
        measured_now = [t.target for t in self if t.target is not None]
        return self._backoff.unavailable_targets(measured_now)

    def start(self, number: int | None, job: Job, *, anew: bool = False) -> None:
        """Submit a job.

        Args:
            anew: a measurement is taken again where an equal one is there.
        """
        if anew and isinstance(job, Measure):
            job = job.model_copy(update={"again": int(self._clock.now())})
        attempt = self._outcomes.next_attempt(number, name_of(job))
        started, started_at = self._clock.monotonic(), self._clock.now()
        ticket = Ticket(self._n_tickets, number, job, started, started_at, attempt)
        self._n_tickets += 1
        self._tickets[ticket.id] = ticket
        self._executor.submit(ticket.id, job)

    def cancel(self, number: int) -> None:
        """End the jobs of a trial."""
        for ticket in [t for t in self if t.trial == number]:
            self._executor.cancel(ticket.id)
            del self._tickets[ticket.id]

    def ended(self, poll_s: float) -> Iterator[tuple[Ticket, JobOutcome]]:
        """What ended since; waits up to `poll_s` for the first."""
        for outcome in self._executor.poll(poll_s):
            ticket = self._tickets.pop(outcome.ticket, None)
            if ticket is not None:
                yield ticket, outcome


@dataclass(frozen=True)
class Loop:
    """Turn after turn: commands, what is next, what ended."""

    ledger: Ledger
    under_way: UnderWay
    outcomes: OutcomeHandler
    commands: CommandHandler
    live: LiveView
    poll_s: float

    def run(
        self, is_over: Callable[[], bool], submit: Callable[[], None], take: Take
    ) -> StudyState:
        """Finished, or stopped where somebody asked for it.

        Args:
            submit: starts what is next, where there is room.
            take: goes on after a job that ended.

        Raises:
            StudyFault, EnvironmentFault: what ends the study.
        """
        with noticing_interrupts() as is_interrupted:
            while not is_over():
                if is_interrupted():
                    return StudyState.STOPPED
                try:
                    self._turn(submit, take)
                except EnvironmentFault:
                    if not is_interrupted():  # a signal to the whole group ends the stages too
                        raise
        is_stopped = self.ledger.study.state is StudyState.STOPPING
        return StudyState.STOPPED if is_stopped else StudyState.FINISHED

    def _turn(self, submit: Callable[[], None], take: Take) -> None:
        self.commands.handle()
        submit()
        for ticket, outcome in self.under_way.ended(self.poll_s):
            take(ticket, self.outcomes.handle(ticket, outcome))
        self.live.tell(self.under_way)
