"""Runs one study: proposes trials, submits their stages, records every outcome.

Each decision is in the store before it is acted on, and the next step is always worked out from
the store (`search.plan`). Killing the coordinator at any moment and starting it again therefore
continues the study: a finished stage is found, an interrupted one resumes from its checkpoint.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from search.absences import Absences
from search.budgets import (
    broken,
    enforced_budgets,
    excesses,
    judged_as,
    metrics_of,
    objective_values,
    timed_gates_decide,
)
from search.executors.base import Done, Executor
from search.interrupts import noticing_interrupts
from search.plan import (
    Ground,
    Results,
    StudyFacts,
    figures_of,
    ground_of,
    next_study_job,
    next_trial_job,
    waiting_for,
)
from search.progress import Running, Snapshot, View
from search.sampling import GENERATION, propose
from search.screening import reason_to_screen_out
from spaces.gates import judge
from spaces.metrics import metric_named
from spaces.points import recipe_of
from spaces.recipe import Recipe
from spaces.space import Budget, Space
from storage.records import Measurement, StageRun, Study, StudyState, Trial, TrialState
from storage.store import Store
from workers.jobs import Convert, Figure, Job, Measure, Score, StageResult, key_of, name_of

_POLL_S = 0.2
_COMMANDS_EVERY_S = 1.0
_TELLS_EVERY_S = 2.0


@dataclass
class _Ticket:
    trial_number: int | None
    job: Job
    started: float
    started_at: float
    attempt: int

    @property
    def target(self) -> str | None:
        """The target that it measures on, if it does."""
        return self.job.target_name if isinstance(self.job, Measure) else None


class StudyFault(Exception):
    """The study itself cannot go on; `is_user_fault` tells whose mistake it is."""

    def __init__(self, message: str, is_user_fault: bool, log: str | None = None) -> None:
        super().__init__(message)
        self.is_user_fault, self.log = is_user_fault, log


class Coordinator:
    """Owns one study while it runs; there is one at a time."""

    def __init__(
        self,
        store: Store,
        study: Study,
        space: Space,
        facts: StudyFacts,
        executor: Executor,
        view: View,
        parallel: int,
        asks: bool = True,
        again: frozenset[int] = frozenset(),
    ) -> None:
        """
        Args:
            asks: whether new trials are begun; else what is there is brought to its end.
            again: trials to measure anew.
        """
        self._store, self._study, self._space, self._facts = store, study, space, facts
        self._executor, self._view, self._parallel = executor, view, parallel
        self._trials = {t.number: t for t in store.trials(study.id)}
        self._recipes = {n: Recipe.model_validate(t.recipe) for n, t in self._trials.items()}
        self._results: dict[int | None, dict[str, StageResult]] = {}
        self._failures: dict[tuple[int | None, str], int] = {}
        self._tickets: dict[int, _Ticket] = {}
        self._next_ticket = 0
        self._ground: Ground | None = None
        self._state = StudyState.RUNNING
        self._commands_at = self._told_at = 0.0
        self._begun = time.monotonic()
        self._elapsed_before = float(study.facts.get("elapsed_s", 0.0))
        self._exhausted = False
        self._measured_before: dict[int, Trial] = {}
        self._asks, self._again, self._now = asks, again, int(time.time())
        self._absences = Absences(space)
        self._is_resumed = bool(self._trials) or bool(store.stage_runs(study.id, None))
        self._reopen()
        self._recall()

    def _reopen(self) -> None:
        """Trials that waited for a device when the search ended, or that are measured anew."""
        for trial in list(self._trials.values()):
            if trial.state is TrialState.UNMEASURED or trial.number in self._again:
                if trial.told is not None:
                    self._measured_before[trial.number] = trial
                open_again = trial.evolve(state=TrialState.RUNNING, reason=None, finished_at=None)
                self._trials[trial.number] = open_again
                self._store.save_trial(open_again)

    def _recall(self) -> None:
        """Take up what the store knows of finished stages."""
        finals = {n for n, t in self._trials.items() if t.state.is_final}
        for run in self._store.stage_runs(self._study.id):
            # Data and what the teacher said of it lie in a cache, which may be gone.
            if run.state == "failed" or run.stage in ("prepare", "listen"):
                continue
            if run.stage == "export" and "float" not in run.result["artifacts"]:
                continue  # of a version before other runtimes than ONNX Runtime
            self._count_compute(run)
            if run.trial_number in finals:
                continue
            if run.trial_number in self._again and run.stage.startswith("measure@"):
                continue
            result = StageResult.model_validate(run.result)
            self._results.setdefault(run.trial_number, {})[run.stage] = result

    def _count_compute(self, run: StageRun) -> None:
        trial = self._trials.get(-1 if run.trial_number is None else run.trial_number)
        if trial is not None and not trial.state.is_final:
            spent_s = trial.compute_s + float(run.result.get("cpu_s", 0.0))
            self._trials[trial.number] = trial.evolve(compute_s=spent_s)

    # the loop

    def run(self) -> StudyState:
        """Go on until the study is finished, stopped or cannot go on.

        Raises:
            StudyFault: when the data or the teacher cannot be used.
        """
        self._set_state(StudyState.RUNNING)
        verb = "continues" if self._is_resumed else "starts"
        self._event("study", f'study "{self._study.name}" {verb}')
        self._drop_old_commands()
        try:
            with noticing_interrupts() as is_interrupted:
                while not self._over():
                    if is_interrupted():
                        self._state = StudyState.STOPPED
                        break
                    self._obey()
                    self._submit()
                    for done in self._executor.poll(_POLL_S):
                        self._take(done)
                    self._tell()
        except KeyboardInterrupt:  # the second: it did not wait for what was being done
            self._state = StudyState.STOPPED
        except StudyFault as fault:
            self._event("fault", str(fault))
            self._set_state(StudyState.FAILED)
            raise
        finally:
            for trial in [self._trials[n] for n in list(self._measured_before)]:
                if not trial.state.is_final:
                    self._fail(trial, "was not measured again")
            self._executor.close()
            self._remember_time()
            self._store.set_study(self._study.id, live=None)
        self._conclude()
        return self._state

    def _over(self) -> bool:
        if self._state is StudyState.STOPPING:
            return True
        if self._ground is None or self._tickets or self._may_ask():
            return False
        if self._state is StudyState.PAUSED:
            return False
        self._give_up_waiting()
        if self._may_ask():  # a deterministic study waited for these before it asks for more
            return False
        return all(t.state.is_final for t in self._trials.values())

    def _give_up_waiting(self) -> None:
        """Nothing is left to do but to wait for devices: they have so long to come back."""
        patience_s = self._space.search.device_patience_s
        for trial in [t for t in self._trials.values() if not t.state.is_final]:
            results = self._results.get(trial.number, {})
            targets = waiting_for(self._space, results)
            if not self._absences.are_all_away(targets) or self._is_unfinished(trial, results):
                continue
            if self._absences.longest_s(targets) >= patience_s:
                reason = (
                    f"not measured on {', '.join(targets)} ({self._absences.reason(targets)}); "
                    f"`search measure {self._study.name}` does it when the device is back"
                )
                self._fail(trial, reason, TrialState.UNMEASURED)

    def _is_unfinished(self, trial: Trial, results: Results) -> bool:
        """Whether there is something to do for a trial that needs no device."""
        assert self._ground is not None
        recipe = self._recipes[trial.number]
        remote = [n for n, t in self._space.targets.items() if t.is_remote]
        job = next_trial_job(self._space, self._facts, self._ground, recipe, results, remote)
        return job is not None

    def _conclude(self) -> None:
        if self._state is StudyState.RUNNING and not self._asks and self._has_more():
            self._set_state(StudyState.STOPPED)
            self._event("study", "measured what there was; `search launch` goes on")
        elif self._state is StudyState.RUNNING:
            self._set_state(StudyState.FINISHED)
            self._event("study", self._closing_words())
        else:
            self._set_state(StudyState.STOPPED)
            self._event("study", "stopped; what was running continues from its checkpoints")

    def _has_more(self) -> bool:
        return len(self._trials) < self._study.trials_wanted

    def _closing_words(self) -> str:
        complete = sum(t.state is TrialState.COMPLETE for t in self._trials.values())
        unmeasured = sum(t.state is TrialState.UNMEASURED for t in self._trials.values())
        waits = f", {unmeasured} wait to be measured" if unmeasured else ""
        why = "every recipe of the space has been tried" if self._exhausted else "finished"
        if self._out_of_time():
            why = "time is up"
        return f"{why}: {complete} of {len(self._trials)} trials complete{waits}"

    def _set_state(self, state: StudyState) -> None:
        self._state = state
        self._store.set_study(self._study.id, state=state)

    # commands from other shells

    def _drop_old_commands(self) -> None:
        """A stop or pause meant for an earlier run says nothing to this one."""
        for command in self._store.take_commands(self._study.id):
            if command.kind == "cancel" and command.argument is not None:
                self._cancel(command.argument)

    def _obey(self) -> None:
        if time.monotonic() - self._commands_at < _COMMANDS_EVERY_S:
            return
        self._commands_at = time.monotonic()
        for command in self._store.take_commands(self._study.id):
            if command.kind == "stop":
                self._state = StudyState.STOPPING
            elif command.kind in ("pause", "resume"):
                paused = command.kind == "pause"
                self._set_state(StudyState.PAUSED if paused else StudyState.RUNNING)
                self._event("study", "paused: nothing new starts" if paused else "resumed")
            elif command.kind == "extend":
                self._study = self._store.study(self._study.name)
                self._event("study", f"extended to {self._study.trials_wanted} trials")
            elif command.kind == "cancel" and command.argument is not None:
                self._cancel(command.argument)

    def _cancel(self, number: int) -> None:
        trial = self._trials.get(number)
        if trial is None or trial.state.is_final:
            return
        for ticket, under_way in list(self._tickets.items()):
            if under_way.trial_number == number:
                self._executor.cancel(ticket)
                del self._tickets[ticket]
        self._fail(trial, "cancelled", TrialState.CANCELLED)

    # submitting

    def _submit(self) -> None:
        if self._state is not StudyState.RUNNING:
            return
        if self._ground is None:
            if not self._tickets:
                self._submit_study_stage()
            return
        if not self._is_under_way(None) and len(self._tickets) < self._parallel:
            self._measure_teacher()
        for trial in [t for t in self._trials.values() if not t.state.is_final]:
            if len(self._tickets) >= self._parallel:
                return
            if not self._is_under_way(trial.number):
                self._advance(trial)
        while len(self._tickets) < self._parallel and self._may_ask() and self._ask():
            pass

    def _is_under_way(self, number: int | None) -> bool:
        return any(t.trial_number == number for t in self._tickets.values())

    def _put_off(self) -> set[str]:
        """Targets on which nothing can be measured now."""
        now = [t.target for t in self._tickets.values() if t.target is not None]
        return self._absences.put_off(now)

    def _submit_study_stage(self) -> None:
        results = self._results.setdefault(None, {})
        job = next_study_job(self._space, self._facts, results, self._put_off())
        if job is not None:
            self._start(None, job)
            return
        self._ground = ground_of(self._space, results)
        self._check_teacher(results)
        self._save_teacher(results)
        self._judge_again()

    def _measure_teacher(self) -> None:
        """On a device that was away when the search began and is back."""
        results = self._results.setdefault(None, {})
        if not results or not any(t.is_remote for t in self._space.targets.values()):
            return
        job = next_study_job(self._space, self._facts, results, self._put_off())
        if job is not None:
            self._start(None, job)

    def _check_teacher(self, results: Results) -> None:
        """What leans on a figure that the teacher will never have could never be broken, and what
        the teacher's machine does not tell it will not tell of a student."""
        assert self._ground is not None
        pending = self._pending_of_teacher(results)
        lacking = [m for m in self._space.needs_teacher_value() if self._lacks(m, pending)]
        if lacking:
            raise StudyFault(
                f"budgets: {', '.join(lacking)} of this teacher is not measured here, so "
                '"<= teacher" means nothing; write a number',
                is_user_fault=True,
            )
        timed = not self._study.deterministic
        speeds = [f"throughput@{name}" for name in self._space.targets]
        if self._space.gate.olive_asr and timed:
            unknown = [m.partition("@")[2] for m in speeds if self._lacks(m, pending)]
            if unknown:
                raise StudyFault(
                    f"gate.olive_asr: the teacher's speed on {', '.join(unknown)} is not measured, "
                    "so nobody can be twice as fast; take the gate or the target out",
                    is_user_fault=True,
                )
        self._check_told(results)
        self._tell_what_decides_nothing()

    def _pending_of_teacher(self, results: Results) -> set[str]:
        """Targets on which the teacher is measured later, when their device is back."""
        pending: set[str] = set()
        seen = dict(results)
        while True:
            job = next_study_job(self._space, self._facts, seen)
            if not isinstance(job, Measure):
                return pending
            pending.add(job.target_name)
            seen[name_of(job)] = StageResult()

    def _lacks(self, metric: str, pending: set[str]) -> bool:
        """Whether the teacher will never have a figure."""
        assert self._ground is not None
        target = metric.partition("@")[2] or next(iter(self._space.targets))
        is_later = metric_named(metric).noisy and target in pending
        return metric not in self._ground.teacher_metrics and not is_later

    def _check_told(self, results: Results) -> None:
        """Figures that a target did not tell of the teacher though it was measured there."""
        decides = [b.metric for b in self._budgets()]
        decides += [judged_as(o, self._study.deterministic) for o in self._space.objectives]
        assert self._ground is not None
        for metric in decides:
            base, _, named = metric.partition("@")
            target = named or next(iter(self._space.targets))
            was_measured = bool(results.get(f"measure@{target}", StageResult()).figures)
            of_students_only = base == "regression"
            known = metric in self._ground.teacher_metrics
            if metric_named(metric).noisy and was_measured and not known and not of_students_only:
                raise StudyFault(
                    f"{metric}: {target} does not tell {base}, so it can be neither objective nor "
                    "budget there",
                    is_user_fault=True,
                )

    def _tell_what_decides_nothing(self) -> None:
        """In a deterministic study: what is timed."""
        if not self._study.deterministic:
            return
        timed = set(self._space.budget_list()) - set(self._budgets())
        left_out = [*map(str, timed), *(f"gate {name}" for name in self._space.gate.timed)]
        if left_out:
            self._event(
                "study",
                f"deterministic: {', '.join(left_out)} is timed, varies from run to run "
                "and therefore decides nothing; use --where on the front",
            )

    def _remember_corpus(self, corpus: str) -> None:
        """Data that changed under a study would make its teacher and trials incomparable."""
        before = self._study.facts.get("corpus")
        if before is None:
            facts = {**self._study.facts, "corpus": corpus}
            self._study = replace(self._study, facts=facts)
            self._store.set_study(self._study.id, facts=facts)
        elif before != corpus:
            raise StudyFault(
                "the data changed since this study began (audio, transcripts or tokens differ), so "
                "its trials could not be compared; put it back, or start a new study with --study",
                is_user_fault=True,
            )

    def _save_teacher(self, results: Results) -> None:
        assert self._ground is not None
        figures = figures_of(self._space, results)
        self._store.save_measurements(self._study.id, measurements_of("teacher", figures))
        teacher = self._ground.teacher_metrics
        self._study = replace(
            self._study,
            facts={
                **self._study.facts,
                "teacher": dict(teacher),
                "data": dict(results["prepare"].facts),
            },
        )
        self._store.set_study(self._study.id, facts=dict(self._study.facts))
        parts = [f"WER {teacher['wer']:.1%}"] if "wer" in teacher else []
        parts += [f"{teacher['size_mb']:.2f} MB"] if "size_mb" in teacher else []
        self._event("teacher", f"teacher ready: {', '.join(parts)}")

    def _may_ask(self) -> bool:
        if self._exhausted or not self._asks or self._out_of_time():
            return False
        number = len(self._trials)
        if number >= self._study.trials_wanted:
            return False
        if self._study.deterministic:
            first = number - number % GENERATION
            return all(self._trials[n].state.is_final for n in range(first))
        return True

    def _out_of_time(self) -> bool:
        hours = self._space.search.hours
        return hours is not None and self._elapsed_s() > hours * 3600

    def _elapsed_s(self) -> float:
        return self._elapsed_before + time.monotonic() - self._begun

    def _ask(self) -> bool:
        """Propose a trial and put it into the store; False when there is nothing to propose."""
        number = len(self._trials)
        trials = list(self._trials.values())
        proposal = propose(self._space, self._study.seed, number, trials, self._study.deterministic)
        if proposal is None:
            self._exhausted = True
            return False
        recipe = recipe_of(proposal.values)
        trial = self._store.add_trial(
            self._study.id,
            number=number,
            values=proposal.values,
            recipe=recipe.model_dump(mode="json"),
            recipe_digest=recipe.digest(),
            source=proposal.source,
            sampler_attrs=proposal.sampler_attrs,
        )
        self._trials[number], self._recipes[number] = trial, recipe
        self._event("trial", f"trial {number}: {recipe.label()} ({proposal.source})", number)
        self._advance(trial)
        return True

    def _advance(self, trial: Trial) -> None:
        """Submit the next stage of a trial, or finish it."""
        assert self._ground is not None
        results = self._results.setdefault(trial.number, {})
        if set(results) == {"screen"} and (reason := self._screened_out(trial, results)):
            self._judge(trial, results, TrialState.SCREENED_OUT, reason)
            return
        recipe = self._recipes[trial.number]
        job = next_trial_job(
            self._space, self._facts, self._ground, recipe, results, self._put_off()
        )
        if job is None:
            if not waiting_for(self._space, results):
                self._judge(trial, results)
            return
        if trial.state is TrialState.QUEUED:
            trial = trial.evolve(state=TrialState.RUNNING)
            self._trials[trial.number] = trial
            self._store.save_trial(trial)
        self._start(trial.number, job)

    def _start(self, number: int | None, job: Job) -> None:
        if number in self._again and isinstance(job, Measure):
            job = job.model_copy(update={"again": self._now})
        ticket = self._next_ticket
        self._next_ticket += 1
        attempt = self._failures.get((number, name_of(job)), 0) + 1
        self._tickets[ticket] = _Ticket(number, job, time.monotonic(), time.time(), attempt)
        self._executor.submit(ticket, job)

    # outcomes

    def _take(self, done: Done) -> None:
        ticket = self._tickets.pop(done.ticket, None)
        if ticket is None:
            return
        number, stage = ticket.trial_number, name_of(ticket.job)
        if done.is_device_fault and ticket.target is not None:
            self._take_absence(ticket.target, done.error or "is away")
            return
        if ticket.target is not None and self._absences.came(ticket.target):
            self._event("device", f"{ticket.target} is back")
        state = "failed" if done.result is None else "reused" if done.result.reused else "done"
        self._store.add_stage_run(
            self._study.id,
            trial_number=number,
            stage=stage,
            key=key_of(ticket.job),
            attempt=ticket.attempt,
            state=state,
            started_at=ticket.started_at,
            duration_s=done.duration_s,
            result={} if done.result is None else done.result.model_dump(mode="json"),
            error=done.error,
            log=done.log,
        )
        if done.result is None:
            self._take_failure(ticket, done)
            return
        self._results.setdefault(number, {})[stage] = done.result
        self._note_stage(number, stage, done)
        if stage == "prepare":
            self._remember_corpus(str(done.result.facts["corpus"]))
        if number is None and self._ground is not None:
            self._ground = ground_of(self._space, self._results[None])
            self._save_teacher(self._results[None])
            self._judge_again()
        if number is not None:
            trial = self._trials[number]
            trial = trial.evolve(compute_s=trial.compute_s + done.result.cpu_s)
            self._trials[number] = trial
            if self._state is StudyState.RUNNING:  # else it is taken up again by `_submit`
                self._advance(trial)

    def _note_stage(self, number: int | None, stage: str, done: Done) -> None:
        who = "study" if number is None else f"trial {number}"
        how = "found done" if done.result and done.result.reused else f"{done.duration_s:.1f} s"
        self._event("stage", f"{who}: {stage} {how}", number)
        if done.result and (reasons := done.result.facts.get("unsteady")):
            self._event("unsteady", f"{who}: {stage} is unsteady: {'; '.join(reasons)}", number)
        faults = done.result.facts.get("faults") if done.result and stage == "prepare" else None
        if faults:
            lines = "\n".join(f"  {fault}" for fault in faults)
            self._event("data", f"{len(faults)} faulty items of the data are left out:\n{lines}")

    def _take_absence(self, target: str, error: str) -> None:
        """A device that is away delays what is measured on it, and fails nothing."""
        if self._absences.went(target, error):
            self._event("device", f"{target}: {error}; its measurements wait, the rest goes on")

    def _take_failure(self, ticket: _Ticket, done: Done) -> None:
        number, stage = ticket.trial_number, name_of(ticket.job)
        error = done.error or "failed"
        tries = self._failures[number, stage] = ticket.attempt
        is_last = done.is_user_fault or tries > self._space.search.retries
        if number is None:
            if is_last and self._can_do_without(ticket.job):
                self._results[None][stage] = StageResult(facts={"failed": error})
                self._event("teacher", f"the teacher goes without {stage}: {error}")
            elif is_last:
                raise StudyFault(error, done.is_user_fault, done.log)
            else:
                self._event("retry", f"study: {stage} failed ({error}); trying again")
        elif is_last:
            reason = f"{stage}: {error}" + (f" ({tries} attempts)" if tries > 1 else "")
            self._fail(self._trials[number], reason)
        else:
            self._event("retry", f"trial {number}: {stage} failed ({error}); trying again", number)

    def _can_do_without(self, job: Job) -> bool:
        """A teacher may be too big for a device or a runtime; students need not be."""
        if isinstance(job, Measure):
            return job.target.is_remote or job.target.backend != "onnxruntime"
        return isinstance(job, Convert) or (isinstance(job, Score) and job.onnx_texts is not None)

    def _fail(self, trial: Trial, reason: str, state: TrialState = TrialState.FAILED) -> None:
        """For good; a measurement that was taken again stands as it was before."""
        before = self._measured_before.pop(trial.number, None)
        if before is None:
            self._finish(trial.evolve(state=state, reason=reason))
            return
        self._trials[trial.number] = before
        self._store.save_trial(before)
        said = f"trial {trial.number}: {reason}; its earlier measurement stands"
        self._event("trial", said, trial.number)

    def _screened_out(self, trial: Trial, results: Results) -> str | None:
        assert self._ground is not None
        rivals = list(self._trials.values())
        if self._study.deterministic:  # only what every run has seen by now
            rivals = rivals[: trial.number - trial.number % GENERATION]
        return reason_to_screen_out(
            self._space, self._ground, results["screen"], rivals, self._study.deterministic
        )

    def _judge(
        self,
        trial: Trial,
        results: Results,
        state: TrialState = TrialState.COMPLETE,
        reason: str | None = None,
    ) -> None:
        """Every stage is done, or screening was enough: record what the trial came to."""
        assert self._ground is not None
        is_out = state is TrialState.SCREENED_OUT
        figures = list(results["screen"].figures) if is_out else figures_of(self._space, results)
        metrics = metrics_of(self._space, figures)
        self._store.save_measurements(self._study.id, measurements_of(str(trial.number), figures))
        if is_out:
            excess = excesses(self._budgets(), metrics, self._ground.teacher_metrics)
            changes = {"state": state, "reason": reason, "constraints": excess}
            self._finish(trial.evolve(metrics=metrics, told=None, **changes))
        else:
            missing = self._untold(metrics)
            if missing:
                self._fail(trial, f"{', '.join(missing)} was not measured")
                return
            self._measured_before.pop(trial.number, None)
            told = objective_values(self._space, metrics, self._study.deterministic)
            self._finish(trial.evolve(metrics=metrics, told=told, **self._verdict(metrics)))

    def _untold(self, metrics: Mapping[str, float]) -> list[str]:
        """What decides and was not measured."""
        judged = [judged_as(o, self._study.deterministic) for o in self._space.objectives]
        names = dict.fromkeys([*judged, *(b.metric for b in self._budgets())])
        return [name for name in names if name not in metrics]

    def _budgets(self) -> tuple[Budget, ...]:
        return enforced_budgets(self._space, self._study.deterministic)

    def _verdict(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """State, reason and constraints of a measured trial: budgets, then gates."""
        assert self._ground is not None
        teacher = self._ground.teacher_metrics
        excess = excesses(self._budgets(), metrics, teacher)
        gates = judge(
            self._space.gate,
            metrics,
            teacher,
            tuple(self._space.targets),
            timed_gates_decide(self._study.deterministic),
        )
        reason = broken(excess, metrics, self._budgets(), gates)
        return {
            "state": TrialState.INFEASIBLE if reason else TrialState.COMPLETE,
            "reason": reason,
            "constraints": excess | {gate.text: gate.excess for gate in gates},
        }

    def _judge_again(self) -> None:
        """The teacher was measured on a device only now: what leans on it can be told now."""
        for trial in list(self._trials.values()):
            if trial.told is None or not trial.state.is_final:
                continue
            judged = trial.evolve(**self._verdict(trial.metrics))
            if judged.state is not trial.state or judged.constraints != trial.constraints:
                self._trials[trial.number] = judged
                self._store.save_trial(judged)
                self._event("trial", describe(judged), trial.number)

    def _finish(self, trial: Trial) -> None:
        trial = trial.evolve(finished_at=time.time())
        self._trials[trial.number] = trial
        self._results.pop(trial.number, None)
        self._store.save_trial(trial)
        self._remember_time()
        self._event("trial", describe(trial), trial.number, dict(trial.metrics))

    def _remember_time(self) -> None:
        facts = {**self._study.facts, "elapsed_s": self._elapsed_s()}
        self._store.set_study(self._study.id, facts=facts)

    def _event(
        self,
        kind: str,
        message: str,
        number: int | None = None,
        data: dict[str, float] | None = None,
    ) -> None:
        self._view.event(self._store.add_event(self._study.id, kind, message, number, data))

    # the live view

    def _snapshot(self) -> Snapshot:
        now = time.monotonic()
        running = [
            Running(t.trial_number, name_of(t.job), now - t.started, self._executor.progress(i))
            for i, t in self._tickets.items()
        ]
        return Snapshot(
            study=replace(self._study, state=self._state),
            space=self._space,
            trials=list(self._trials.values()),
            running=running,
            elapsed_s=self._elapsed_s(),
            eta_s=self._eta_s(),
            waiting=self._waiting(),
            away_s=self._absences.are_away_s(),
        )

    def _waiting(self) -> tuple[str, ...]:
        """What waits for devices that are away, in words."""
        numbers: dict[str, int] = {}
        for trial in self._trials.values():
            results = self._results.get(trial.number, {})
            if trial.state.is_final or "export" not in results:
                continue
            for name in waiting_for(self._space, results):
                if self._absences.are_all_away([name]):
                    numbers[name] = numbers.get(name, 0) + 1
        return tuple(f"{n} wait for {name}" for name, n in numbers.items())

    def _tell(self) -> None:
        """The view; and the store, for pages elsewhere."""
        snapshot = self._snapshot()
        self._view.tick(snapshot)
        if time.monotonic() - self._told_at >= _TELLS_EVERY_S:
            self._told_at = time.monotonic()
            self._store.set_study(self._study.id, live=live_of(snapshot))

    def _eta_s(self) -> float | None:
        """Time left at the pace of the trials that went all the way."""
        spent = [
            t.finished_at - t.created_at
            for t in self._trials.values()
            if t.finished_at is not None and t.state in (TrialState.COMPLETE, TrialState.INFEASIBLE)
        ]
        if not spent:
            return None
        finals = sum(t.state.is_final for t in self._trials.values())
        eta_s = (self._study.trials_wanted - finals) * sum(spent) / len(spent) / self._parallel
        hours = self._space.search.hours
        return eta_s if hours is None else min(eta_s, hours * 3600 - self._elapsed_s())


def live_of(snapshot: Snapshot) -> dict[str, object]:
    """What runs now, as the store keeps it."""
    return {
        "at": time.time(),
        "host": platform.node(),
        "eta_s": snapshot.eta_s,
        "elapsed_s": snapshot.elapsed_s,
        "waiting": list(snapshot.waiting),
        "away_s": dict(snapshot.away_s),
        "running": [
            {
                "trial": r.trial_number,
                "stage": r.stage,
                "elapsed_s": r.elapsed_s,
                "progress": r.progress,
            }
            for r in snapshot.running
        ],
    }


def measurements_of(subject: str, figures: Sequence[Figure]) -> list[Measurement]:
    latest = {(f.target, f.metric): f for f in figures}
    return [
        Measurement(
            subject=subject, target=f.target, metric=f.metric, value=f.value, samples=f.samples
        )
        for f in latest.values()
    ]


def describe(trial: Trial) -> str:
    """One line on a finished trial."""
    text = f"trial {trial.number}: {trial.state}"
    m = trial.metrics
    if trial.state in (TrialState.COMPLETE, TrialState.INFEASIBLE) and "wer" in m:
        # A phone by adb times the network alone.
        times = {"p95": "latency_p95_ms", "graph p95": "graph_p95_ms"}
        p95 = next((f"{word} {m[n]:.1f} ms, " for word, n in times.items() if n in m), "")
        text += f", WER {m['wer']:.1%}, {p95}{m['size_mb']:.2f} MB"
        text += " (unsteady)" * bool(m.get("unsteady"))
    return text + (f" ({trial.reason})" if trial.reason else "")
