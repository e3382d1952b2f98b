"""Runs one study: polls, hands outcomes to the ledger, asks the strategy for moves, submits.

Each decision is in the store before it is acted on, and the next step is always worked out from
the store (`search.study.pipeline`). Killing the coordinator at any moment and starting it again
therefore continues the study: a finished stage is found, an interrupted one resumes from its
checkpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from search.clock import SYSTEM_CLOCK, Clock
from search.errors import EnvironmentFault, StudyFault
from search.executors.base import Executor
from search.policy import Policy
from search.progress import StudyObserver
from search.strategy.focus import focus_at
from search.strategy.moves import Nothing, Stop
from search.strategy.optuna_records import FrozenTrials
from search.strategy.rungs import goes_to_end, is_trained
from search.strategy.sampling import propose
from search.strategy.screening import screen
from search.strategy.warm_start import NOTHING, WarmStart, warm_start
from search.study.afterwards import InTurn, Planned
from search.study.closing import conclude, tell_settings
from search.study.commands import CommandHandler
from search.study.confirming import Confirming
from search.study.device_backoff import FIRST_WAIT_S, LONGEST_WAIT_S, DeviceBackoff
from search.study.earlier import EarlierStudy, as_told, described
from search.study.judging import Judge
from search.study.ledger import Ledger, Ticket
from search.study.live import LiveView
from search.study.measuring import Complete, Step, Submit
from search.study.outcomes import OutcomeHandler
from search.study.pipeline import next_trial_step
from search.study.rungs import Rungs
from search.study.settings import StudySettings
from search.study.teacher_phase import TeacherPhase
from search.study.testing import Testing
from search.study.under_way import Loop, UnderWay
from search.study.waiting import Waiting
from spaces.space import Space
from storage.records import Study, StudyState, Trial, TrialState
from storage.store import Store
from workers.jobs import Job


@dataclass(frozen=True)
class Pace:
    """How often the coordinator looks at what, in seconds."""

    poll_s: float = 0.2
    commands_every_s: float = 1.0
    live_every_s: float = 2.0
    first_wait_s: float = FIRST_WAIT_S  # for a device that is away
    longest_wait_s: float = LONGEST_WAIT_S
    # before the study is taken up again where disk, memory or files of this host ended it
    environment_waits_s: tuple[float, ...] = (1.0, 5.0, 30.0)
    long_run_s: float = 600.0  # what went well for so long begins to count anew


class Coordinator:
    """Owns one study while it runs; there is one at a time.

    Args:
        propose_new: whether new trials are begun; else what is there is brought to its end.
        remeasure: trials to measure anew.
        earlier: studies that the sampler learns from.
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
        propose_new: bool = True,
        remeasure: frozenset[int] = frozenset(),
        earlier: Sequence[EarlierStudy] = (),
        clock: Clock = SYSTEM_CLOCK,
        pace: Pace | None = None,
    ) -> None:
        pace = pace or Pace()
        self._space, self._settings, self._policy = space, settings, policy
        self._executor = executor
        self._propose_new, self._remeasure = propose_new, remeasure
        self._ledger = Ledger(store, study, observer, clock, executor.has_artifact)
        self._ledger.restore(remeasure)
        self._judge = Judge(store, space, policy, self._ledger)
        self._rungs = Rungs(space, policy, self._ledger, self._judge)
        self._teacher = TeacherPhase(space, settings, policy, self._ledger, self._judge)
        self._backoff = DeviceBackoff(space, clock, pace.first_wait_s, pace.longest_wait_s)
        self._commands = CommandHandler(
            store, self._ledger, self._cancel, self._rungs.promote, clock, pace.commands_every_s
        )
        self._live = LiveView(
            space, self._ledger, executor, self._backoff, observer, clock, pace.live_every_s
        )
        self._afterwards = InTurn(
            Confirming(store, space, settings, policy, self._ledger, self._judge, self._teacher),
            Testing(store, space, settings, self._ledger),
        )
        outcomes = OutcomeHandler(
            self._ledger,
            self._failed,
            self._teacher,
            self._afterwards,
            self._backoff,
            space.search.retries,
        )
        self._waiting = Waiting(space, self._ledger, self._judge, self._backoff, self._next_step)
        self._under_way = UnderWay(executor, outcomes, self._backoff, clock)
        self._loop = Loop(
            self._ledger, self._under_way, outcomes, self._commands, self._live, pace.poll_s
        )
        self._is_exhausted = False
        self._frozen = FrozenTrials(space)
        self._earlier = earlier

    # the loop

    def run(self, is_taken_up: bool = False) -> StudyState:
        """Go on until the study is finished, stopped or cannot go on.

        Args:
            is_taken_up: it runs already and only waited: what was asked of it meanwhile counts.

        Raises:
            StudyFault: when the data or the teacher cannot be used.
            EnvironmentFault: when disk, memory or files of this host are to blame.
        """
        ledger = self._ledger
        ledger.set_state(StudyState.RUNNING)
        verb = "continues" if ledger.is_resumed else "starts"
        ledger.event("study", f'study "{ledger.study.name}" {verb}')
        if not is_taken_up:
            self._commands.drop_old()
        state = StudyState.FINISHED
        try:
            state = self._loop.run(self._is_over, self._submit, self._take)
        except KeyboardInterrupt:  # the second: it did not wait for what was being done
            state = StudyState.STOPPED
        except EnvironmentFault as fault:
            ledger.event("environment", str(fault))
            raise
        except StudyFault as fault:
            ledger.event("fault", str(fault))
            ledger.set_state(StudyState.FAILED)
            raise
        finally:
            for number in ledger.measured_before:
                if not ledger.trials[number].state.is_final:
                    self._judge.fail(number, "was not measured again")
            self._executor.close()
            ledger.remember_time()
            self._live.close()
        if state is StudyState.FINISHED and self._propose_new:
            tell_settings(ledger, self._space, self._policy)
        return conclude(
            ledger, state, self._propose_new, self._is_exhausted, self._is_out_of_time()
        )

    def _is_over(self) -> bool:
        state = self._ledger.study.state
        if state is StudyState.STOPPING:
            return True
        if self._teacher.context is None or len(self._under_way) or self._may_propose():
            return False
        if state is StudyState.PAUSED:
            return False
        self._waiting.give_up()
        if self._may_propose():  # a deterministic study waited for these before it asks for more
            return False
        return not self._ledger.open_trials() and not self._left_afterwards()

    def _cancel(self, number: int) -> None:
        trial = self._ledger.trials.get(number)
        if trial is None or trial.state.is_final:
            return
        self._under_way.cancel(number)
        self._judge.fail(number, "cancelled", TrialState.CANCELLED)

    # submitting

    def _submit(self) -> None:
        if self._ledger.study.state is not StudyState.RUNNING:
            return
        if self._teacher.context is None:
            if not len(self._under_way):
                self._submit_study_stage()
            return
        if not self._under_way.has(None) and self._has_room() and self._has_devices():
            self._submit_study_stage()  # a device was away when the search began and is back
        for trial in self._ledger.open_trials():
            if not self._has_room():
                return
            if not self._under_way.has(trial.number):
                self._advance(trial)
        while self._has_room() and self._may_propose() and self._begin():
            pass
        for number, job in self._left_afterwards():
            if self._has_room() and not self._under_way.has(number):
                self._start(number, job)

    def _has_room(self) -> bool:
        return len(self._under_way) < self._space.search.parallel

    def _has_devices(self) -> bool:
        return any(target.is_remote for target in self._space.targets.values())

    def _submit_study_stage(self) -> None:
        step = self._teacher.next_step(self._under_way.unavailable_targets())
        if isinstance(step, Submit):
            self._start(None, step.job)
        elif self._teacher.context is None:
            self._teacher.begin_trials()

    def _may_propose(self) -> bool:
        if self._is_exhausted or not self._propose_new or self._is_out_of_time():
            return False
        number = len(self._ledger.trials)
        is_wanted = number < self._ledger.study.trials_wanted
        return is_wanted and self._policy.may_propose(number, self._ledger.trials)

    def _is_out_of_time(self) -> bool:
        hours, compute_hours = self._space.search.hours, self._space.search.compute_hours
        is_late = hours is not None and self._ledger.elapsed_s() > hours * 3600
        return is_late or (
            compute_hours is not None and self._ledger.compute_s() > compute_hours * 3600
        )

    def _begin(self) -> bool:
        """Begin a trial, or take up one that was stopped; False when there is neither."""
        number = self._rungs.promote_late()
        if number is None:
            return self._propose()
        self._advance(self._ledger.trials[number])
        return True

    def _left_afterwards(self) -> Sequence[Planned]:
        """What is done with the front once nothing else of the search is to come."""
        is_to_go_on = not self._propose_new and (
            len(self._ledger.trials) < self._ledger.study.trials_wanted
        )
        if is_to_go_on or self._may_propose() or self._ledger.open_trials():
            return ()
        return self._afterwards.left()

    def _propose(self) -> bool:
        """False when there is nothing to propose."""
        number, trials = len(self._ledger.trials), list(self._ledger.trials.values())
        seed = self._ledger.study.seed
        focus = focus_at(self._ledger.study.focuses, number)
        frozen, warm = self._frozen, self._warm
        move = propose(self._space, self._policy, seed, number, trials, frozen, focus, warm)
        if isinstance(move, Nothing):
            self._is_exhausted = move.is_exhausted
            return False
        self._advance(self._ledger.add_trial(number, move))
        return True

    @cached_property
    def _warm(self) -> WarmStart:
        """What earlier studies know; how alike they are is known with the data."""
        if not self._earlier:
            return NOTHING
        assert self._teacher.context is not None
        told = as_told(self._space, self._teacher.context.corpus, self._earlier)
        self._ledger.event("study", described(told))
        return warm_start(self._space, self._policy, told)

    def _next_step(self, trial: Trial, unavailable: Collection[str]) -> Step:
        assert self._teacher.context is not None
        return next_trial_step(
            self._space,
            self._settings,
            self._teacher.context,
            self._ledger.recipe(trial.number),
            self._ledger.results(trial.number),
            unavailable,
            to_end=not self._space.search.stop_early or goes_to_end(trial),
            is_trained=is_trained(trial),
        )

    def _advance(self, trial: Trial) -> None:
        """Submit the next stage of a trial, or end it."""
        context = self._teacher.context
        assert context is not None
        results = self._ledger.results(trial.number)
        if results.screen is not None and results.train is None:
            focus = focus_at(self._ledger.study.focuses, trial.number)
            teacher = context.teacher_metrics
            move = screen(self._space, self._policy, teacher, results.screen, focus)
            if isinstance(move, Stop):
                self._judge.screen_out(trial.number, results.screen, move.reason, context)
                return
        if results.train is None and not self._rungs.goes_on(trial, results):
            return
        step = self._next_step(trial, self._under_way.unavailable_targets())
        if isinstance(step, Complete):
            self._judge.complete(trial.number, context)
        elif isinstance(step, Submit):
            if trial.state is TrialState.QUEUED:
                self._ledger.save(trial.number, state=TrialState.RUNNING)
            self._start(trial.number, step.job)

    def _start(self, number: int | None, job: Job) -> None:
        self._under_way.start(number, job, anew=number in self._remeasure)

    def _failed(self, ticket: Ticket, reason: str) -> None:
        assert ticket.trial is not None
        self._judge.fail(ticket.trial, reason)

    def _take(self, ticket: Ticket, is_done: bool) -> None:
        is_running = self._ledger.study.state is StudyState.RUNNING
        if is_done and ticket.trial is not None and is_running:
            trial = self._ledger.trials[ticket.trial]
            if not trial.state.is_final:
                self._advance(trial)
