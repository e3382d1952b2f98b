"""What other shells ask of a running study."""

from __future__ import annotations

from collections.abc import Callable

from search.clock import Clock
from search.study.ledger import Ledger
from storage.records import Command, Study, StudyState, TrialState
from storage.store import Store


class CommandHandler:
    """Reads the commands of a study now and then, and carries them out."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        cancel: Callable[[int], None],
        promote: Callable[[int, str], None],
        clock: Clock,
        every_s: float,
    ) -> None:
        self._store, self._ledger = store, ledger
        self._cancel, self._promote = cancel, promote
        self._clock, self._every_s = clock, every_s
        self._last_s = -every_s

    def drop_old(self) -> None:
        """A stop or pause meant for an earlier run says nothing to this one."""
        for command in self._store.commands.take(self._ledger.study.id):
            if command.kind == "cancel" and command.argument is not None:
                self._cancel(command.argument)

    def handle(self) -> None:
        """Carry out what was asked for since."""
        if self._clock.monotonic() - self._last_s < self._every_s:
            return
        self._last_s = self._clock.monotonic()
        for command in self._store.commands.take(self._ledger.study.id):
            self._handle(command)

    def _handle(self, command: Command) -> None:
        ledger = self._ledger
        if command.kind == "stop":
            ledger.set_state(StudyState.STOPPING)
        elif command.kind == "pause":
            ledger.set_state(StudyState.PAUSED)
            ledger.event("study", "paused: nothing new starts")
        elif command.kind == "resume":
            ledger.set_state(StudyState.RUNNING)
            ledger.event("study", "resumed")
        elif command.kind == "extend":
            ledger.reload_study()
            ledger.event("study", extended(ledger.study))
        elif command.kind == "retry" and command.argument is not None:
            trial = ledger.trials.get(command.argument)
            if trial is not None and (trial.state is TrialState.FAILED or trial.state.is_measured):
                ledger.reopen(trial.number)
        elif command.kind == "promote" and command.argument is not None:
            self._promote(command.argument, "hand")
        elif command.kind == "cancel" and command.argument is not None:
            self._cancel(command.argument)


def extended(study: Study) -> str:
    """What was added to a study last, in words."""
    wanted = study.trials_wanted
    last = next((f for f in study.focuses if f.covers(wanted - 1)), None)
    return f"extended to {wanted} trials" + (f", {last}" if last else "")
