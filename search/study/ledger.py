"""What the coordinator knows of a study, and its way into the store.

Every decision is in the store before it is acted on; what is here can be made again from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Unpack

from search.clock import Clock
from search.executors.base import JobOutcome
from search.progress import StudyObserver
from search.results import TrialResults
from search.strategy.moves import Propose
from search.study.past import Past, past_of
from spaces.metrics import MetricRef
from spaces.points import recipe_of
from spaces.recipe import Recipe
from spaces.record import JsonObject
from storage.records import (
    REOPENED,
    StageRun,
    Study,
    StudyChanges,
    StudyState,
    Trial,
    TrialChanges,
    TrialState,
)
from storage.store import Store
from workers.errors import KILLED
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

    def __init__(
        self,
        store: Store,
        study: Study,
        observer: StudyObserver,
        clock: Clock,
        has_artifact: Callable[[str], bool],
    ) -> None:
        self._store, self._observer, self._clock = store, observer, clock
        self._has_artifact = has_artifact
        self.study = study
        self.trials = {t.number: t for t in store.trials.of(study.id)}
        self._recipes = {n: Recipe.model_validate(t.recipe) for n, t in self.trials.items()}
        self._results: dict[int | None, TrialResults] = {}
        self._past: dict[int | None, list[Past]] = {}
        self._before: dict[int, Trial] = {}  # trials measured again, as they were
        self._begun, self._elapsed_before = clock.monotonic(), study.elapsed_s
        self.is_resumed = bool(self.trials) or bool(store.stage_runs.of(study.id, None))

    # taking up

    def restore(self, remeasure: Collection[int]) -> None:
        """Take up what the store knows: finished stages whose files are still there, and trials
        that are measured anew or waited for a device when the search ended."""
        for trial in list(self.trials.values()):
            if trial.state is TrialState.UNMEASURED or trial.number in remeasure:
                if trial.objective_values is not None:
                    self._before[trial.number] = trial
                self.save(trial.number, state=TrialState.RUNNING, reason=None, finished_at=None)
        for trial in self.open_trials():
            self.trials[trial.number] = trial.evolve(compute_s=0.0)  # added up anew from its stages
        for number in (None, *(t.number for t in self.open_trials())):
            runs = [r for r in self._store.stage_runs.of(self.study.id, number) if _lasts(r)]
            past = past_of(runs, self._has_artifact)
            for each in past:
                self._count(number, each.result)
            if number in remeasure:
                past = [each for each in past if not self._is_measured_again(each.stage)]
            self._take_up(number, past)

    def _is_measured_again(self, stage: str) -> bool:
        """A measurement on a target of the space; those on added ones are asked for by name."""
        kind, _, target = stage.partition("@")
        return kind in ("measure", "confirm") and target not in self.study.added_targets

    def take_up_ended(self, number: int | None, anew: Collection[str] = ()) -> None:
        """Take the results of a trial that has ended and stays so, or of the study itself (None),
        for what is done with its files.

        Args:
            anew: stages that are done once more.
        """
        runs = [r for r in self._store.stage_runs.of(self.study.id, number) if _lasts(r)]
        past = [p for p in past_of(runs, self._has_artifact) if p.stage not in anew]
        self._take_up(number, past)

    def _take_up(self, number: int | None, past: list[Past]) -> None:
        self._past[number] = past
        self._settle(number)

    def _settle(self, number: int | None) -> None:
        """Take what the record has beside, as far as the files that it was made from are there."""
        for past in self._past.get(number, ()):
            results = self.results(number)
            if past.stage not in results.by_stage and past.holds(results):
                self._results[number] = results.having(past.stage, past.result)

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

    def compute_s(self) -> float:
        """CPU seconds of all trials, and of the study's own stages that this run knows of."""
        own = sum(r.cpu_s for r in self.results(None).by_stage.values())
        return own + sum(trial.compute_s for trial in self.trials.values())

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

    def reopen(self, number: int, verb: str = "is tried again") -> None:
        """A trial that failed, lost its files or was stopped goes on from there."""
        self.save(number, **REOPENED)
        runs = self._store.stage_runs.of(self.study.id, number)
        self._take_up(number, past_of(runs, self._has_artifact))
        self.event("trial", f"trial {number}: {verb}", number)

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
            self._results[ticket.trial] = self.results(ticket.trial).having(ticket.stage, result)
            self._settle(ticket.trial)

    def do_without(self, stage: str, result: AnyResult) -> None:
        """The teacher goes without a stage; for this run of the study, not for the record."""
        self._results[None] = self.results(None).having(stage, result)

    def finish(self, number: int, **changes: Unpack[TrialChanges]) -> Trial:
        """A trial has come to its end."""
        self._before.pop(number, None)
        changes["finished_at"] = self._clock.now()
        trial = self.save(number, **changes)
        self._results.pop(number, None)
        self._past.pop(number, None)
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
        """Its figures; those on targets that were added stay where these say nothing of them."""
        added, known = self.study.added_targets, self.study.teacher_metrics
        kept = {name: v for name, v in known.items() if MetricRef.of(name).target in added}
        self.change_study(teacher_metrics={**kept, **metrics})


def _lasts(run: StageRun) -> bool:
    """Whether a run of a trial, or of the study itself, is taken up after a restart."""
    is_first = run.trial_number is None and run.stage.partition("@")[0] in FIRST_STAGES
    return not is_first and run.stage not in CACHED_STAGES
