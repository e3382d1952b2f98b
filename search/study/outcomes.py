"""What becomes of a job that ended: into the record, told, tried again, or its trial ended."""

from __future__ import annotations

from collections.abc import Callable

from search.errors import EnvironmentFault, StudyFault
from search.executors.base import JobOutcome
from search.study.afterwards import InTurn
from search.study.device_backoff import DeviceBackoff
from search.study.ledger import Ledger, Ticket
from search.study.teacher_phase import TeacherPhase
from workers.results import AnyResult, Epoch, MeasureResult, PrepareResult, TrainResult, Unavailable

# A stage whose process is ended from outside so often takes more memory than there is.
_MOST_KILLS = 4


class OutcomeHandler:
    """Takes each outcome once.

    Args:
        fail: ends what a stage of a trial was for, which failed for good, with the reason.
    """

    def __init__(
        self,
        ledger: Ledger,
        fail: Callable[[Ticket, str], None],
        teacher: TeacherPhase,
        afterwards: InTurn,
        backoff: DeviceBackoff,
        retries: int,
    ) -> None:
        self._ledger, self._fail, self._teacher = ledger, fail, teacher
        self._afterwards, self._backoff, self._retries = afterwards, backoff, retries
        self._failures: dict[tuple[int | None, str], int] = {}

    def next_attempt(self, number: int | None, stage: str) -> int:
        """The number of the attempt that is about to begin, from 1 on."""
        return self._failures.get((number, stage), 0) + 1

    def handle(self, ticket: Ticket, outcome: JobOutcome) -> bool:
        """Whether the stage is done.

        Raises:
            StudyFault: when the study cannot go on without what failed.
        """
        if outcome.is_device_fault and ticket.target is not None:
            self._device_is_away(ticket.target, outcome.error or "is away")
            return False
        if ticket.target is not None and self._backoff.mark_reachable(ticket.target):
            self._ledger.event("device", f"{ticket.target} is back")
        self._ledger.record(ticket, outcome)
        if outcome.result is None:
            self._failed(ticket, outcome)
            return False
        self._tell(ticket, outcome)
        owner = self._afterwards.owner(ticket.job)
        if owner is not None:
            owner.took(ticket.trial, ticket.job, outcome.result)
            return True
        if isinstance(outcome.result, PrepareResult):
            self._teacher.remember_corpus(outcome.result.corpus)
        if ticket.trial is None and self._teacher.context is not None:
            self._teacher.measured_late()
        return True

    def _device_is_away(self, target: str, error: str) -> None:
        """Delays what is measured on it, and fails nothing."""
        if self._backoff.mark_unreachable(target, error):
            message = f"{target}: {error}; its measurements wait, the rest goes on"
            self._ledger.event("device", message)

    def _tell(self, ticket: Ticket, outcome: JobOutcome) -> None:
        who, result = _who(ticket.trial), outcome.result
        assert result is not None
        how = "found done" if result.reused else f"{outcome.duration_s:.1f} s"
        if isinstance(result, TrainResult) and result.sliced_share is not None:
            how += f", from a slice ({result.sliced_share:.0%} of its parameters)"
        if isinstance(result, TrainResult) and result.teacher_share is not None:
            how += f", from the teacher ({result.teacher_share:.0%} of its parameters)"
        if (n_skipped := _n_skipped(result)) and not result.reused:
            how += f", {n_skipped} steps left out whose gradients were not finite"
        self._ledger.event("stage", f"{who}: {ticket.stage} {how}", ticket.trial)
        if isinstance(result, MeasureResult) and result.unsteady:
            reasons = "; ".join(result.unsteady)
            message = f"{who}: {ticket.stage} is unsteady: {reasons}"
            self._ledger.event("unsteady", message, ticket.trial)
        if isinstance(result, PrepareResult) and result.faults:
            lines = "\n".join(f"  {fault}" for fault in result.faults)
            message = f"{len(result.faults)} faulty items of the data are left out:\n{lines}"
            self._ledger.event("data", message)

    def _failed(self, ticket: Ticket, outcome: JobOutcome) -> None:
        number, stage, error = ticket.trial, ticket.stage, outcome.error or "failed"
        if outcome.is_environment_fault and self._ledger.kills(number, stage) <= _MOST_KILLS:
            raise EnvironmentFault(f"{_who(number)}: {stage}: {error}", outcome.log)
        tries = self._failures[number, stage] = ticket.attempt
        if not (outcome.is_user_fault or tries > self._retries):
            message = f"{_who(number)}: {stage} failed ({error}); trying again"
            self._ledger.event("retry", message, number)
        elif (owner := self._afterwards.owner(ticket.job)) is not None:
            owner.give_up(number, ticket.job, error)
        elif number is not None:
            reason = f"{stage}: {error}" + (f" ({tries} attempts)" if tries > 1 else "")
            self._fail(ticket, reason)
        elif self._teacher.can_do_without(ticket.job):
            self._ledger.do_without(stage, Unavailable(reason=error))
            self._ledger.event("teacher", f"the teacher goes without {stage}: {error}")
        else:
            raise StudyFault(error, outcome.is_user_fault, outcome.log)


def _n_skipped(result: AnyResult) -> int:
    """Steps of a training in float16 that were left out."""
    history: tuple[Epoch, ...] = getattr(result, "history", ())
    return history[-1].n_skipped if history else 0


def _who(number: int | None) -> str:
    return "study" if number is None else f"trial {number}"
