"""A measured trial that lost files makes them anew; its figures stand where the files come out the
same, else it is scored and measured again."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from coordinated import CACHED, EAGER, Killed, Lossy, run
from fakes import SPACE, Work

from search.executors.base import JobOutcome
from search.home import Home
from search.results import TrialResults
from storage.records import REOPENED, StudyState, Trial
from storage.store import Store
from workers.jobs import Export, Job
from workers.results import AnyResult

NUMBER = 3
# What is measured once more at the end is another story.
TEXT = SPACE.replace("search: {", "search: {confirm: false, ")


class Otherwise(Work):
    """Exports other bytes than before, as another version of a tool would."""

    def _export(self, job: Export) -> AnyResult:
        made = super()._export(job)
        other = made.model[::-1]
        return made.model_copy(update={"model": other, "float32": other})


class KilledBefore(Otherwise):
    """As if the machine went down before a stage is done."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage

    def __call__(self, job: Job) -> AnyResult:
        if job.stage == self._stage:
            raise Killed
        return super().__call__(job)


@pytest.fixture
def lost(home: Home) -> set[str]:
    """The model of a trial of a finished study, which is taken up again."""
    _, trials, store, study = run(home, Work(), TEXT)
    model = _results(store, study.id).export.model
    store.trials.save(trials[NUMBER].evolve(**REOPENED))
    return {model}


@pytest.fixture
def before(home: Home, lost: set[str]) -> Trial:
    """The trial as it was measured first, but for what is open now."""
    store = Store(home.store_url)
    trial = store.trials.get(store.studies.get("fake").id, NUMBER)
    store.close()
    return trial


def _results(store: Store, study_id: int) -> TrialResults:
    return TrialResults.of(store.stage_runs.of(study_id, NUMBER))


def _taken_up(home: Home, work: Work, lost: set[str]) -> tuple[Trial, list[str]]:
    """The trial afterwards, and the stages that were done for it."""
    state, trials, *_ = run(home, work, TEXT, executor=Lossy(work, lost))
    assert state is StudyState.FINISHED
    assert all(t.state.is_measured for t in trials)
    return trials[NUMBER], [job.stage for job in work.jobs if job.stage not in CACHED]


def test_files_that_come_out_the_same_keep_their_figures(
    home: Home, lost: set[str], before: Trial
) -> None:
    trial, done = _taken_up(home, Work(), lost)
    assert done == ["export"]
    assert trial.metrics == before.metrics
    assert trial.constraints == before.constraints


def test_files_that_come_out_otherwise_are_scored_and_measured_again(
    home: Home, lost: set[str], before: Trial
) -> None:
    trial, done = _taken_up(home, Otherwise(), lost)
    assert done == ["export", "score", "measure"]
    assert trial.metrics["wer"] != before.metrics["wer"]
    assert trial.metrics["latency_p95_ms@cpu"] != before.metrics["latency_p95_ms@cpu"]


@pytest.mark.parametrize(
    ("stage", "left"), [("score", ["score", "measure"]), ("measure", ["measure"])]
)
def test_killed_in_between_no_figure_of_the_lost_file_is_taken_for_the_new_ones(
    stage: str, left: list[str], home: Home, lost: set[str], before: Trial
) -> None:
    killed = KilledBefore(stage)
    with pytest.raises(Killed):
        run(home, killed, TEXT, executor=Lossy(killed, lost))
    trial, done = _taken_up(home, Otherwise(), lost)
    assert done == left
    assert trial.metrics["wer"] != before.metrics["wer"]
    assert trial.metrics["latency_p95_ms@cpu"] != before.metrics["latency_p95_ms@cpu"]


class Asked(Lossy):
    """Another shell asks a running study for the trial."""

    def __init__(self, work: Work, lost: Collection[str], home: Home) -> None:
        super().__init__(work, lost)
        self._home: Home | None = home

    def poll(self, timeout_s: float) -> list[JobOutcome]:
        if self._home is not None:
            store, self._home = Store(self._home.store_url), None
            store.commands.add(store.studies.get("fake").id, "retry", NUMBER)
            store.close()
        return super().poll(timeout_s)


def test_a_running_study_takes_it_up_when_asked(home: Home) -> None:
    _, trials, store, study = run(home, Work(), TEXT)
    work, lost = Work(), {_results(store, study.id).export.model}
    _, after, *_ = run(home, work, TEXT, executor=Asked(work, lost, home), pace=EAGER)
    assert [job.stage for job in work.jobs if job.stage not in CACHED] == ["export"]
    assert after[NUMBER].metrics == trials[NUMBER].metrics
    assert after[NUMBER].objective_values == trials[NUMBER].objective_values
