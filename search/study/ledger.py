"""What the coordinator knows of a study, and its way into the store.

Every decision is in the store before it is acted on; what is here can be made again from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Unpack

from search.clock import Clock
from search.executors.base import KILLED, JobOutcome
from search.progress import StudyObserver
from search.results import TrialResults, read_result
from search.strategy.moves import Propose
from spaces.points import recipe_of
from spaces.recipe import Recipe
from spaces.record import JsonObject
from storage.records import Study, StudyChanges, StudyState, Trial, TrialChanges, TrialState
from storage.store import Store
from workers.jobs import Job, Measure, key_of, name_of
from workers.results import AnyResult

# Data and the teacher's output lie in a cache, which may be gone: they are looked for anew.
CACHED_STAGES = ("prepare", "teacher_targets")
# What a study does before anything builds on its space: budgets and data may still be mended.
FIRST_STAGES = ("prepare", "screen")


@dataclass(frozen=True)
class Ticket:
    """A job under way; `trial` None is the study's own."""

    id: int
    trial: int | None
    job: Job
    started: float  # monotonic
    started_at: float
    attempt: int

    @property
    def stage(self) -> str:
        return name_of(self.job)

    @property
    def target(self) -> str | None:
        """The target that it measures on, if it does."""
        return self.job.target_name if isinstance(self.job, Measure) else None


class Ledger:
    """Trials, recipes and results of one study, written through to the store."""

    def __init__(self, store: Store, study: Study, observer: StudyObserver, clock: Clock) -> None:
        self._store, self._observer, self._clock = store, observer, clock
        self.study = study
        self.trials = {t.number: t for t in store.trials.of(study.id)}
        self._recipes = {n: Recipe.model_validate(t.recipe) for n, t in self.trials.items()}
        self._results: dict[int | None, TrialResults] = {}
        self._before: dict[int, Trial] = {}  # trials measured again, as they were
        self._begun, self._elapsed_before = clock.monotonic(), study.elapsed_s
        self.is_resumed = bool(self.trials) or bool(store.stage_runs.of(study.id, None))

    # taking up

    def restore(self, remeasure: Collection[int], has_artifact: Callable[[str], bool]) -> None:
        """Take up what the store knows: finished stages whose files are still there, and trials
        that are measured anew or waited for a device when the search ended."""
        for trial in list(self.trials.values()):
            if trial.state is TrialState.UNMEASURED or trial.number in remeasure:
                if trial.objective_values is not None:
                    self._before[trial.number] = trial
                self.save(trial.number, state=TrialState.RUNNING, reason=None, finished_at=None)
        for trial in self.open_trials():
            self.trials[trial.number] = trial.evolve(compute_s=0.0)  # added up anew from its stages
        finals = {n for n, t in self.trials.items() if t.state.is_final}
        for run in self._store.stage_runs.of(self.study.id):
            if run.trial_number in finals or run.stage in CACHED_STAGES:
                continue
            if run.trial_number is None and run.stage.partition("@")[0] in FIRST_STAGES:
                continue  # of a space that may have been mended since
            result = read_result(run)
            if result is None:
                continue
            if not all(map(has_artifact, result.digests)):
                continue  # it is made again
            self._count(run.trial_number, result)
            if not (run.trial_number in remeasure and run.stage.startswith("measure@")):
                self._take(run.trial_number, run.stage, result)

    def _take(self, number: int | None, stage: str, result: AnyResult) -> None:
        self._results[number] = self.results(number).having(stage, result)

    def _count(self, number: int | None, result: AnyResult) -> None:
        """What a stage cost is part of what its trial costs."""
        if number is not None:
            trial = self.trials[number]
            self.trials[number] = trial.evolve(compute_s=trial.compute_s + result.cpu_s)

    # reading

    def results(self, number: int | None) -> TrialResults:
        """Of a trial that is not finished, or of the study itself (None)."""
        return self._results.get(number, TrialResults())

    def recipe(self, number: int) -> Recipe:
        return self._recipes[number]

    def open_trials(self) -> list[Trial]:
        """Trials that are not finished, by number."""
        return [t for t in self.trials.values() if not t.state.is_final]

    def count(self, state: TrialState) -> int:
        return sum(t.state is state for t in self.trials.values())

    def kills(self, number: int | None, stage: str) -> int:
        """How often a stage was ended from outside, in this run of the study and earlier ones."""
        runs = self._store.stage_runs.of(self.study.id, number)
        return sum(r.stage == stage and (r.error or "").startswith(KILLED) for r in runs)

    def elapsed_s(self) -> float:
        """Time that coordinators have run the study."""
        return self._elapsed_before + self._clock.monotonic() - self._begun

    # writing

    def event(
        self, kind: str, message: str, number: int | None = None, data: JsonObject | None = None
    ) -> None:
        event = self._store.events.add(self.study.id, kind, message, number, data)
        self._observer.event(event)

    def change_study(self, **changes: Unpack[StudyChanges]) -> None:
        self.study = replace(self.study, **changes)
        self._store.studies.change(self.study.id, **changes)

    def set_state(self, state: StudyState) -> None:
        self.change_study(state=state)

    def reload_study(self) -> None:
        """As another shell may have changed it."""
        self.study = self._store.studies.get(self.study.name)

    def add_trial(self, number: int, move: Propose) -> Trial:
        recipe = recipe_of(move.values)
        trial = self._store.trials.add(
            self.study.id,
            number=number,
            values=move.values,
            recipe=recipe.content(),
            recipe_digest=recipe.digest(),
            label=recipe.label(),
            source=move.source,
            sampler_attrs=move.sampler_attrs,
        )
        self.trials[number], self._recipes[number] = trial, recipe
        source = move.source.replace("_", " ")
        self.event("trial", f"trial {number}: {recipe.label()} ({source})", number)
        return trial

    def save(self, number: int, **changes: Unpack[TrialChanges]) -> Trial:
        """Change a trial."""
        trial = self.trials[number] = self.trials[number].evolve(**changes)
        self._store.trials.save(trial)
        return trial

    def reopen(self, number: int) -> None:
        """A trial that failed is tried again, from where it failed on."""
        self.save(number, state=TrialState.RUNNING, reason=None, finished_at=None)
        for run in self._store.stage_runs.of(self.study.id, number):
            result = read_result(run)
            if result is not None:
                self._take(number, run.stage, result)
        self.event("trial", f"trial {number}: is tried again", number)

    def record(self, ticket: Ticket, outcome: JobOutcome) -> None:
        """An attempt at a stage that ended, well or not."""
        result = outcome.result
        state = "failed" if result is None else "reused" if result.reused else "done"
        self._store.stage_runs.add(
            self.study.id,
            trial_number=ticket.trial,
            stage=ticket.stage,
            key=key_of(ticket.job),
            attempt=ticket.attempt,
            state=state,
            started_at=ticket.started_at,
            duration_s=outcome.duration_s,
            result={} if result is None else result.model_dump(mode="json"),
            error=outcome.error,
            log=outcome.log,
        )
        if result is not None:
            self._count(ticket.trial, result)
            self._take(ticket.trial, ticket.stage, result)

    def do_without(self, stage: str, result: AnyResult) -> None:
        """The teacher goes without a stage; for this run of the study, not for the record."""
        self._results[None] = self.results(None).having(stage, result)

    def finish(self, number: int, **changes: Unpack[TrialChanges]) -> Trial:
        """A trial has come to its end."""
        self._before.pop(number, None)
        changes["finished_at"] = self._clock.now()
        trial = self.save(number, **changes)
        self._results.pop(number, None)
        self.remember_time()
        return trial

    def end_trial(self, number: int, reason: str, state: TrialState) -> Trial | None:
        """For good and unmeasured; a measurement that was taken again stands as it was before."""
        before = self._before.pop(number, None)
        if before is None:
            return self.finish(number, state=state, reason=reason)
        self.trials[number] = before
        self._store.trials.save(before)
        self.event("trial", f"trial {number}: {reason}; its earlier measurement stands", number)
        return None

    @property
    def measured_before(self) -> list[int]:
        """Trials that are being measured again."""
        return list(self._before)

    def remember_time(self) -> None:
        self.change_study(elapsed_s=self.elapsed_s())

    def save_teacher(self, metrics: Mapping[str, float]) -> None:
        self.change_study(teacher_metrics=dict(metrics))
