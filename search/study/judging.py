"""Ends trials: writes their measurements, judges them, tells what they came to."""

from __future__ import annotations

from collections.abc import Sequence

from search.added_targets import with_added
from search.error_groups import error_groups
from search.objectives import metrics_of, violations
from search.policy import Policy
from search.results import readings_of, readings_of_test
from search.strategy.verdict import unmeasured, verdict
from search.study.ledger import Ledger
from search.study.settings import StudyContext
from spaces.space import Space
from storage.records import Measurement, Trial, TrialState
from storage.store import Store
from workers.results import Reading, ScreenResult


class Judge:
    """Decides by `search.strategy.verdict`, and puts it into the record."""

    def __init__(self, store: Store, space: Space, policy: Policy, ledger: Ledger) -> None:
        self._store, self._space, self._policy, self._ledger = store, space, policy, ledger

    def complete(self, number: int, context: StudyContext) -> None:
        """Every stage of a trial is done."""
        results = self._ledger.results(number)
        known = with_added(self._space, self._ledger.study, results.measured)
        readings = readings_of(known, results)
        metrics = metrics_of(self._space, readings)
        self.save_measurements(str(number), readings)
        missing = unmeasured(self._space, self._policy, metrics)
        if missing:
            self.fail(number, f"{', '.join(missing)} was not measured")
            return
        found = verdict(self._space, self._policy, metrics, context.teacher_metrics)
        scored = results.score(self._space.runtimes()[0].label)
        trial = self._ledger.finish(
            number,
            metrics=metrics | metrics_of(self._space, readings_of_test(self._space, results)),
            error_groups=error_groups(scored.errors) if scored and scored.errors else None,
            objective_values=found.objective_values,
            state=found.state,
            reason=found.reason,
            constraints=found.constraints,
        )
        self._tell(trial)

    def screen_out(
        self, number: int, screened: ScreenResult, reason: str, context: StudyContext
    ) -> None:
        """A trial is not worth training."""
        metrics = metrics_of(self._space, screened.readings)
        self.save_measurements(str(number), screened.readings)
        budgets = self._policy.budgets(self._space)
        trial = self._ledger.finish(
            number,
            metrics=metrics,
            objective_values=None,
            state=TrialState.SCREENED_OUT,
            reason=reason,
            constraints=violations(budgets, metrics, context.teacher_metrics),
        )
        self._tell(trial)

    def confirm(self, number: int, readings: Sequence[Reading], context: StudyContext) -> None:
        """A finished trial was measured once more: its figures are those of both sessions."""
        self.save_measurements(str(number), readings)
        trial = self._ledger.trials[number]
        metrics = {**trial.metrics, **metrics_of(self._space, readings)}
        found = verdict(self._space, self._policy, metrics, context.teacher_metrics)
        judged = self._ledger.save(
            number,
            metrics=metrics,
            objective_values=found.objective_values,
            state=found.state,
            reason=found.reason,
            constraints=found.constraints,
        )
        if found.state is not trial.state:
            self._tell(judged)

    def stop(self, trial: Trial, reason: str) -> None:
        """A trial is stopped at the last of its rungs."""
        stopped = self._ledger.finish(
            trial.number,
            rungs=trial.rungs,
            metrics=trial.metrics,
            objective_values=None,
            state=TrialState.STOPPED,
            reason=reason,
        )
        self._tell(stopped)

    def fail(self, number: int, reason: str, state: TrialState = TrialState.FAILED) -> None:
        """A trial ends without figures that decide."""
        trial = self._ledger.end_trial(number, reason, state)
        if trial is not None:
            self._tell(trial)

    def judge_again(self, context: StudyContext) -> None:
        """The teacher was measured on a device only now: what leans on it can be judged now."""
        for trial in list(self._ledger.trials.values()):
            if trial.objective_values is None or not trial.state.is_final:
                continue
            found = verdict(self._space, self._policy, trial.metrics, context.teacher_metrics)
            if found.state is not trial.state or found.constraints != trial.constraints:
                judged = self._ledger.save(
                    trial.number,
                    state=found.state,
                    reason=found.reason,
                    constraints=found.constraints,
                )
                self._ledger.event("trial", describe(judged), trial.number)

    def save_measurements(self, subject: str, readings: Sequence[Reading]) -> None:
        latest = {(r.target, r.metric): r for r in readings}
        self._store.measurements.save(
            self._ledger.study.id,
            [
                Measurement(
                    subject=subject,
                    target=r.target,
                    metric=r.metric,
                    value=r.value,
                    samples=r.samples,
                )
                for r in latest.values()
            ],
        )

    def _tell(self, trial: Trial) -> None:
        self._ledger.event("trial", describe(trial), trial.number, dict(trial.metrics))


def describe(trial: Trial) -> str:
    """One line on a finished trial."""
    text = f"trial {trial.number}: {trial.state}"
    m = trial.metrics
    if trial.state.is_measured and "wer" in m:
        # A phone by adb times the network alone.
        times = {"p95": "latency_p95_ms", "graph p95": "graph_p95_ms"}
        p95 = next((f"{word} {m[n]:.1f} ms, " for word, n in times.items() if n in m), "")
        text += f", WER {m['wer']:.1%}, {p95}{m['size_mb']:.2f} MB"
        text += " (unsteady)" * bool(m.get("unsteady"))
    return text + (f" ({trial.reason})" if trial.reason else "")
