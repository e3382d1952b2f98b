"""The end of a search: the members of its front are measured once more, one after another.

They were measured hours apart, and what was lucky then is on the front. Taken again within minutes
of each other, a figure is the mean of both sessions; who falls off the front by that is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.trial_frame import trial_frame
from search.policy import Policy
from search.results import TrialResults, readings_of
from search.study.afterwards import Planned
from search.study.judging import Judge
from search.study.ledger import Ledger
from search.study.measuring import confirmations
from search.study.pipeline import student_subject
from search.study.settings import StudySettings
from search.study.teacher_phase import TeacherPhase
from spaces.space import Space
from storage.store import Store
from workers.jobs import Job, Measure, name_of
from workers.results import AnyResult


class Confirming:
    """Knows who of the front was measured in one session only. Devices elsewhere are not asked
    again: one that is away would hold up the end."""

    def __init__(
        self,
        store: Store,
        space: Space,
        settings: StudySettings,
        policy: Policy,
        ledger: Ledger,
        judge: Judge,
        teacher: TeacherPhase,
    ) -> None:
        self._store, self._space, self._settings = store, space, settings
        self._ledger, self._judge, self._teacher = ledger, judge, teacher
        judged = (o.target or space.first_target for o in space.objectives if o.known.noisy)
        local = [n for n in dict.fromkeys(judged) if not space.targets[n].is_remote]
        self._targets = local if policy.timed_decides and space.search.confirm else []
        self._planned: list[Planned] | None = None
        self._ended: tuple[object, ...] = ()
        self._given_up: set[tuple[int | None, str]] = set()
        self._first_front: set[int] = set()

    def owns(self, job: Job) -> bool:
        return isinstance(job, Measure) and job.session > 0

    def left(self) -> Sequence[Planned]:
        """Of the members of the front, also those that come onto it by what the others show."""
        if not self._targets:
            return ()
        ended = tuple((t.number, t.state, t.finished_at) for t in self._ledger.trials.values())
        if ended != self._ended:
            self._ended, self._planned, self._first_front = ended, None, set()
        if self._planned is None:
            self._planned = self._plan()
        return self._planned

    def took(self, number: int | None, job: Job, result: AnyResult) -> None:
        assert number is not None
        assert result is not None
        context = self._teacher.context
        assert context is not None
        results = TrialResults.of(self._store.stage_runs.of(self._ledger.study.id, number))
        self._judge.confirm(number, readings_of(self._space, results), context)
        self._leave_out(number, job)

    def give_up(self, number: int | None, job: Job, error: str) -> None:
        self._given_up.add((number, name_of(job)))
        message = f"trial {number}: not measured again: {error}; its first measurement stands"
        self._ledger.event("trial", message, number)
        self._leave_out(number, job)

    def _leave_out(self, number: int | None, job: Job) -> None:
        self._planned = [p for p in self._planned or () if p != (number, job)] or None

    def _plan(self) -> list[Planned]:
        front = self._front()
        self._first_front = self._first_front or front
        planned: list[Planned] = [(n, job) for n in sorted(front) for job in self._jobs(n)]
        if planned:
            n_students = len({number for number, _ in planned})
            self._ledger.event("study", f"measuring {n_students} students of the front once more")
        elif gone := sorted(self._first_front - front):
            listed = ", ".join(map(str, gone))
            self._ledger.event("study", f"measured again, trial {listed} is off the front")
            self._first_front = front
        return planned

    def _front(self) -> set[int]:
        trials = list(self._ledger.trials.values())
        if not trials:
            return set()
        frame = trial_frame(trials, self._ledger.study, self._space)
        return {int(n) for n in frame.loc[frame["on_front"], "number"]}

    def _jobs(self, number: int) -> list[Job]:
        results = TrialResults.of(self._store.stage_runs.of(self._ledger.study.id, number))
        subject = student_subject(self._ledger.recipe(number), results)
        context = self._teacher.context
        if subject is None or context is None:
            return []
        jobs = confirmations(
            self._space, self._settings, context.corpus, subject, results, self._targets
        )
        return [job for job in jobs if (number, name_of(job)) not in self._given_up]
