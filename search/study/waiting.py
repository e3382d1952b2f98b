"""Trials with nothing left to do but to wait for devices that are away."""

from __future__ import annotations

from collections.abc import Callable, Collection

from search.study.device_backoff import DeviceBackoff
from search.study.judging import Judge
from search.study.ledger import Ledger
from search.study.measuring import Step, Wait
from spaces.space import Space
from storage.records import Trial, TrialState

NextStep = Callable[[Trial, Collection[str]], Step]


class Waiting:
    """Gives devices so long to come back."""

    def __init__(
        self,
        space: Space,
        ledger: Ledger,
        judge: Judge,
        backoff: DeviceBackoff,
        next_step: NextStep,
    ) -> None:
        self._patience_s = space.search.device_patience_s
        self._remote = [name for name, target in space.targets.items() if target.is_remote]
        self._ledger, self._judge, self._backoff = ledger, judge, backoff
        self._next_step = next_step

    def give_up(self) -> None:
        """End the trials whose devices have been away for too long; they can be measured later."""
        for trial in self._ledger.open_trials():
            step = self._next_step(trial, self._remote)
            if not isinstance(step, Wait) or not self._backoff.are_all_away(step.targets):
                continue
            if self._backoff.longest_s(step.targets) >= self._patience_s:
                reason = (
                    f"not measured on {', '.join(step.targets)} "
                    f"({self._backoff.reason(step.targets)}); `search measure "
                    f"{self._ledger.study.name}` does it when the device is back"
                )
                self._judge.fail(trial.number, reason, TrialState.UNMEASURED)
