"""The end of a search: its front is scored on test, which nothing of it was chosen by.

What was scored once is not scored again: a score holds as long as the exported file and the test
set are those that it was taken with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.analysis.trial_frame import trial_frame
from search.objectives import metrics_of
from search.report.labels import line_of_test
from search.results import TrialResults, read_result, readings_of_test
from search.study.ledger import Ledger
from search.study.measuring import jobs_on_test
from search.study.pipeline import student_subject, teacher_subject
from search.study.settings import StudySettings
from spaces.metrics import TEST_METRICS, MetricRef
from spaces.space import Space
from storage.records import StageRun
from storage.store import Store
from workers.jobs import Job, ScoreTest, key_of, name_of
from workers.results import AnyResult, ScoreTestResult

_Planned = tuple[int | None, ScoreTest]  # a trial by its number, None the teacher


class Testing:
    """Knows who is still to be scored, and puts what test says beside the figures of dev."""

    def __init__(self, store: Store, space: Space, settings: StudySettings, ledger: Ledger) -> None:
        self._store, self._space, self._settings, self._ledger = store, space, settings, ledger
        self._planned: list[_Planned] = []
        self._planned_for: tuple[object, ...] | None = None

    def owns(self, job: Job) -> bool:
        return isinstance(job, ScoreTest)

    def left(self) -> Sequence[_Planned]:
        """The scores that are still to be taken, of a search that has come to its end; none where
        its space has no test set."""
        prepared = self._ledger.results(None).prepare
        if prepared is None or prepared.test_corpus is None:
            return ()
        ended = tuple((t.number, t.state, t.finished_at) for t in self._ledger.trials.values())
        if ended != self._planned_for:
            self._planned_for = ended
            self._planned = self._plan(prepared.test_corpus)
        return self._planned

    def took(self, number: int | None, job: Job, result: AnyResult) -> None:
        """A score is in the record."""
        assert isinstance(job, ScoreTest)
        assert isinstance(result, ScoreTestResult)
        self._leave_out(number, job)
        self._remember(number, job.corpus)
        line = line_of_test({r.metric: r.value for r in result.readings})
        by = f", by {job.runtime}" if len(self._space.runtimes()) > 1 else ""
        self._ledger.event("test", f"{_who(number)}: on test {line}{by}", number)

    def give_up(self, number: int | None, job: Job, error: str) -> None:
        """For this run of the study; its trial is what it is without."""
        self._leave_out(number, job)
        message = f"{_who(number)}: not scored on test: {name_of(job)}: {error}"
        self._ledger.event("test", message, number)

    def _leave_out(self, number: int | None, job: Job) -> None:
        self._planned = [each for each in self._planned if each != (number, job)]

    def _plan(self, corpus: str) -> list[_Planned]:
        """The front and its teacher, as far as there is no score of them that holds."""
        trials = list(self._ledger.trials.values())
        frame = trial_frame(trials, self._ledger.study, self._space)
        front = [int(n) for n in frame.loc[frame["on_front"], "number"]] if trials else []
        before = [n for n, t in self._ledger.trials.items() if set(TEST_METRICS) & set(t.metrics)]
        for number in (None, *sorted({*front, *before})):
            self._remember(number, corpus)
        planned = []
        for number in (None, *front) if front else ():
            runs = self._runs(number)
            jobs = self._jobs(number, runs, corpus)
            planned += [(number, job) for job in jobs if job.runtime not in _held(runs, jobs)]
        if planned:
            n_students = len({number for number, _ in planned if number is not None})
            teacher = " and the teacher" if any(n is None for n, _ in planned) else ""
            message = f"scoring {n_students} students of the front{teacher} on test"
            self._ledger.event("test", message)
        return planned

    def _runs(self, number: int | None) -> list[StageRun]:
        return self._store.stage_runs.of(self._ledger.study.id, number)

    def _jobs(self, number: int | None, runs: list[StageRun], corpus: str) -> list[ScoreTest]:
        if number is None:
            results = self._ledger.results(None)
            subject = teacher_subject(self._space, self._settings, results)
        else:
            results = TrialResults.of(runs)
            subject = student_subject(self._ledger.recipe(number), results)
        return [] if subject is None else jobs_on_test(self._space, corpus, subject, results)

    def _remember(self, number: int | None, corpus: str) -> None:
        """Write the scores that hold beside the figures of dev, and no others."""
        runs = self._runs(number)
        tested = TrialResults(tested=_held(runs, self._jobs(number, runs, corpus)))
        of_test = metrics_of(self._space, readings_of_test(self._space, tested))
        before = self._metrics(number)
        others = {m: v for m, v in before.items() if MetricRef.of(m).name not in TEST_METRICS}
        if {**others, **of_test} == before:
            return
        if number is None:
            self._ledger.save_teacher({**others, **of_test})
        else:
            self._ledger.save(number, metrics={**others, **of_test})

    def _metrics(self, number: int | None) -> Mapping[str, float]:
        if number is None:
            return self._ledger.study.teacher_metrics
        return self._ledger.trials[number].metrics


def _held(runs: Sequence[StageRun], jobs: Sequence[ScoreTest]) -> dict[str, ScoreTestResult]:
    """By runtime, the scores of the record that are of these very jobs."""
    keys = {key_of(job): job.runtime for job in jobs}
    results = [(run.key, read_result(run)) for run in runs if run.key in keys]
    return {keys[key]: found for key, found in results if isinstance(found, ScoreTestResult)}


def _who(number: int | None) -> str:
    return "teacher" if number is None else f"trial {number}"
