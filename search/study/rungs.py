"""Rungs of running trials: what a student showed goes into the record, then it goes on or stops."""

from __future__ import annotations

from dataclasses import replace

from search.objectives import metrics_of
from search.policy import Policy
from search.results import TrialResults
from search.strategy.moves import Stop
from search.strategy.rungs import at_rung, late_promotion, promoted, rung_of
from search.study.judging import Judge
from search.study.ledger import Ledger
from spaces.space import Space
from storage.records import Trial, TrialState


class Rungs:
    """Decides by `search.strategy.rungs`, and puts it into the record in the same step."""

    def __init__(self, space: Space, policy: Policy, ledger: Ledger, judge: Judge) -> None:
        self._space, self._policy, self._ledger, self._judge = space, policy, ledger, judge

    def goes_on(self, trial: Trial, results: TrialResults) -> bool:
        """Whether a trial goes on after the rungs that it has come to."""
        known = {rung.share for rung in trial.rungs}
        screened = metrics_of(self._space, results.screen.readings) if results.screen else {}
        for share, result in sorted((float(name), r) for name, r in results.rungs.items()):
            if share not in known:
                rung = rung_of(self._space, self._policy, share, result.score, screened)
                trial = trial.evolve(
                    rungs=(*trial.rungs, rung), metrics={**screened, **trial.metrics}
                )
                if not self._decide(trial):
                    return False
                trial = self._ledger.trials[trial.number]
        return True

    def _decide(self, trial: Trial) -> bool:
        seen = self._policy.seen(trial.number, list(self._ledger.trials.values()))
        move, beaten = at_rung(trial, seen)
        *before, last = trial.rungs
        if isinstance(move, Stop):
            last = replace(last, beaten_by=None if beaten is None else beaten.by)
            self._judge.stop(trial.evolve(rungs=(*before, last)), move.reason)
            return False
        rungs = (*before, replace(last, promoted=last.promoted or "rule"))
        self._ledger.save(trial.number, rungs=rungs, metrics=trial.metrics)
        message = f"trial {trial.number}: WER {last.wer:.1%} after {last.epoch} of {last.epochs}"
        self._ledger.event("rung", f"{message} epochs, goes on", trial.number)
        return True

    def promote_late(self) -> int | None:
        """Take up a stopped trial that nobody beats any more; None where there is none."""
        trials = list(self._ledger.trials.values())
        number = late_promotion(self._policy, len(trials), trials)
        if number is not None:
            self.promote(number, "rule")
        return number

    def promote(self, number: int, by: str) -> None:
        """A stopped trial goes on from where it is."""
        trial = self._ledger.trials.get(number)
        if trial is None or trial.state is not TrialState.STOPPED:
            return
        self._ledger.save(number, rungs=promoted(trial.rungs, by))
        self._ledger.reopen(number, "goes on")
