"""Measures trials that have ended on targets that were added to their study.

Nothing is proposed or trained, and no trial changes its state: files that are there are converted,
scored and measured. As in a search each result is in the store before anything follows from it, so
that the same command continues what was killed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from search.added_targets import with_added
from search.clock import Clock
from search.errors import EnvironmentFault, StudyFault
from search.executors.base import Executor
from search.objectives import metrics_of
from search.policy import Policy
from search.progress import StudyObserver
from search.report.labels import format_metric
from search.results import TrialResults, how_to_make_anew, readings_of
from search.study.added_work import AddedWork, Work
from search.study.afterwards import InTurn
from search.study.commands import CommandHandler
from search.study.coordinator import Pace
from search.study.device_backoff import DeviceBackoff
from search.study.judging import Judge
from search.study.ledger import Ledger, Ticket
from search.study.live import LiveView
from search.study.measuring import Step, Submit, Wait, next_measurement
from search.study.outcomes import OutcomeHandler
from search.study.pipeline import (
    next_study_step,
    study_context,
    teacher_subject,
)
from search.study.rungs import Rungs
from search.study.settings import StudyContext, StudySettings
from search.study.teacher_phase import TeacherPhase
from search.study.under_way import Loop, UnderWay
from spaces.metrics import MetricRef
from spaces.space import Space
from storage.records import Study, StudyState
from storage.store import Store
from workers.jobs import Job, Prepare
from workers.results import Reading


class AddedMeasurements:
    """Owns a study while its trials are measured on targets that were added.

    Args:
        space: the study's own.
        targets: by name, added to the study already.
        trials: those to measure, all measured on the study's own targets.
        again: whether what was measured there is measured once more.
    """

    def __init__(
        self,
        store: Store,
        study: Study,
        space: Space,
        settings: StudySettings,
        policy: Policy,
        executor: Executor,
        observer: StudyObserver,
        *,
        targets: Collection[str],
        trials: Collection[int],
        again: bool,
        clock: Clock,
        pace: Pace,
    ) -> None:
        self._store, self._settings, self._executor = store, settings, executor
        self._space = with_added(space, study)
        self._targets, self._numbers, self._again = tuple(targets), sorted(trials), again
        self._before = study.state
        self._ledger = Ledger(store, study, observer, clock, executor.has_artifact)
        self._judge = Judge(store, space, policy, self._ledger)
        teacher = _Teacher(self._space, settings, policy, self._ledger, self._judge)
        self._backoff = DeviceBackoff(self._space, clock, pace.first_wait_s, pace.longest_wait_s)
        promote = Rungs(space, policy, self._ledger, self._judge).promote  # goes on with `launch`
        self._commands = CommandHandler(
            store, self._ledger, self._cancel, promote, clock, pace.commands_every_s
        )
        self._live = LiveView(
            self._space, self._ledger, executor, self._backoff, observer, clock, pace.live_every_s
        )
        outcomes = OutcomeHandler(
            self._ledger, self._failed, teacher, InTurn(), self._backoff, space.search.retries
        )
        self._under_way = UnderWay(executor, outcomes, self._backoff, clock)
        self._loop = Loop(
            self._ledger, self._under_way, outcomes, self._commands, self._live, pace.poll_s
        )
        self._work = AddedWork(self._space, self._ledger, self._targets, again=again)
        self._context: StudyContext | None = None  # None until the data are ready

    def run(self, is_taken_up: bool = False) -> StudyState:
        """Go on until all is measured, stopped or given up.

        Raises:
            StudyFault: when the data changed, or no chosen trial has its files.
            EnvironmentFault: when disk, memory or files of this host are to blame.
        """
        ledger, state = self._ledger, StudyState.FINISHED
        ledger.set_state(StudyState.RUNNING)
        listed = ", ".join(self._targets)
        ledger.event("study", f"{len(self._numbers)} trials are measured on {listed}")
        if not is_taken_up:
            self._commands.drop_old()
        try:
            state = self._loop.run(self._is_over, self._submit, self._take)
        except KeyboardInterrupt:
            state = StudyState.STOPPED
        except EnvironmentFault as fault:
            ledger.event("environment", str(fault))
            raise
        except StudyFault as fault:
            ledger.event("fault", str(fault))
            raise
        finally:
            self._executor.close()
            ledger.remember_time()
            ledger.set_state(self._state_afterwards())
            self._live.close()
        ledger.event("study", self._closing_message(state))
        return state

    def _state_afterwards(self) -> StudyState:
        """That of the search itself, which stands where it stood."""
        ledger = self._ledger
        if not self._before.is_live:
            return self._before
        has_more = len(ledger.trials) < ledger.study.trials_wanted or ledger.open_trials()
        return StudyState.STOPPED if has_more else StudyState.FINISHED

    def _closing_message(self, state: StudyState) -> str:
        listed = ", ".join(self._targets)
        if state is StudyState.STOPPED:
            return f"measuring on {listed} is stopped; the same command goes on"
        known = [self._ledger.trials[n].metrics for n in self._numbers]
        counts = {t: sum(_is_measured_on(t, metrics) for metrics in known) for t in self._targets}
        told = ", ".join(f"{n} of {len(known)} on {target}" for target, n in counts.items())
        return f"measured: {told}"

    # the loop

    def _is_over(self) -> bool:
        state = self._ledger.study.state
        if state is StudyState.STOPPING:
            return True
        if self._context is None or len(self._under_way) or state is StudyState.PAUSED:
            return False
        self._give_up_on_devices()
        return not any(self._work.left())

    def _submit(self) -> None:
        if self._ledger.study.state is not StudyState.RUNNING:
            return
        if self._context is None:
            if not len(self._under_way):
                step = next_study_step(self._space, self._settings, TrialResults())
                assert isinstance(step, Submit)
                self._under_way.start(None, step.job)  # the data: what is timed is read from there
            return
        for number, work in self._work.left():
            if len(self._under_way) >= self._space.search.parallel:
                return
            if not self._under_way.has(number):
                self._advance(number, work)

    def _advance(self, number: int | None, work: Work) -> None:
        step = self._next_step(number, work, self._under_way.unavailable_targets())
        if isinstance(step, Submit):
            self._under_way.start(number, step.job, anew=self._again and number is not None)
        elif not isinstance(step, Wait):
            self._save(number)
            work.wanted.clear()

    def _next_step(self, number: int | None, work: Work, unavailable: Collection[str]) -> Step:
        assert self._context is not None
        others = set(work.space.targets) - work.wanted
        step = next_measurement(
            work.space,
            self._settings,
            self._context.corpus,
            None if number is None else self._context.teacher_texts,
            work.subject,
            self._ledger.results(number),
            {*others, *unavailable},
        )
        if not isinstance(step, Wait):
            return step
        return Wait(tuple(name for name in step.targets if name in work.wanted))

    def _take(self, ticket: Ticket, is_done: bool) -> None:
        if isinstance(ticket.job, Prepare):
            if is_done:
                self._begin()
        elif is_done and ticket.target is not None:
            self._save(ticket.trial)
            self._work[ticket.trial].wanted.discard(ticket.target)

    # what there is to do

    def _begin(self) -> None:
        """The data are ready: take up the teacher and the trials whose files are there.

        Raises:
            StudyFault: when no trial has.
        """
        ledger = self._ledger
        prepared = ledger.results(None).prepare
        runs = self._store.stage_runs.of(ledger.study.id, None)
        infers = TrialResults.of(runs).teacher_targets
        ledger.take_up_ended(None)
        if prepared is None or (infers is None and self._space.trained_families):
            raise StudyFault("the study has no teacher yet", is_user_fault=True)
        results = ledger.results(None).having("prepare", prepared)
        if infers is not None:
            results = results.having("teacher_targets", infers)
        self._context = study_context(self._space, self._settings, results)
        teacher = teacher_subject(self._space, self._settings, results)
        if teacher is not None:
            self._work.add_teacher(teacher)
        have_files = [self._work.add_trial(number) for number in self._numbers]
        if not any(have_files):
            raise StudyFault(
                "no chosen trial has its exported files any more; "
                f"{how_to_make_anew(ledger.study.name, self._numbers[0])}",
                is_user_fault=True,
            )

    # what becomes of it

    def _save(self, number: int | None) -> None:
        """Put the figures on the added targets into the record, beside what is there."""
        results = self._ledger.results(number)
        on = [name for name in self._targets if results.measure(name) is not None]
        readings = [r for r in readings_of(self._space, results) if r.target in on]
        if not readings:
            return
        found = metrics_of(self._space, readings)
        self._judge.save_measurements("teacher" if number is None else str(number), readings)
        if number is None:
            self._ledger.save_teacher({**self._ledger.study.teacher_metrics, **found})
            return
        known = self._ledger.trials[number].metrics
        if any(known.get(name) != value for name, value in found.items()):
            self._ledger.save(number, metrics={**known, **found})
            self._ledger.event("trial", f"trial {number}: {_told(on, readings)}", number)

    def _failed(self, ticket: Ticket, reason: str) -> None:
        """A stage failed for good: what it was for is not measured."""
        lost = self._work[ticket.trial].lost_with(ticket.job)
        self._work.give_up(ticket.trial, lost, reason)

    def _give_up_on_devices(self) -> None:
        """Nothing is under way: end what waits for devices that have been away for too long."""
        remote = [n for n in self._targets if self._space.targets[n].is_remote]
        for number, work in self._work.left():
            step = self._next_step(number, work, remote)
            away = step.targets if isinstance(step, Wait) else ()
            if not self._backoff.are_all_away(away):
                continue
            if self._backoff.longest_s(away) >= self._space.search.device_patience_s:
                why = self._backoff.reason(away)
                self._work.give_up(number, away, f"{why}; the same command does it later")

    def _cancel(self, number: int) -> None:
        if number not in self._work:
            return
        self._under_way.cancel(number)
        self._work.give_up(number, set(self._work[number].wanted), "cancelled")


class _Teacher(TeacherPhase):
    """The teacher of a search that is over: nothing waits for its figures here."""

    def can_do_without(self, job: Job) -> bool:
        return not isinstance(job, Prepare)


def _is_measured_on(target: str, metrics: Mapping[str, float]) -> bool:
    found = [m for m in map(MetricRef.of, metrics) if m.target == target]
    return any(m.is_known and m.known.noisy for m in found)


def _told(targets: Collection[str], readings: Collection[Reading]) -> str:
    """The times of a trial on the targets that were added, in words."""
    values = {(r.target, r.metric): r.value for r in readings}
    parts = []
    for name in targets:
        times = ("latency_p95_ms", "graph_p95_ms")
        metric = next((m for m in times if (name, m) in values), None)
        told = "" if metric is None else f" p95 {format_metric(metric, values[name, metric])}"
        parts.append(f"on {name}{told}")
    return ", ".join(parts)
