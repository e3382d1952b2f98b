"""Devices that are away delay what is measured on them, and nothing else."""

from __future__ import annotations

import pytest
from away import (
    AWAY,
    IMPATIENT,
    N_TRIALS,
    PACE,
    REFUSED,
    TEXT,
    Home_,
    View,
    Workshop,
    both_measured,
)
from fakes import Work

from search.executors.inline import InlineExecutor
from search.study.launch import launch
from search.study.options import Options
from storage.records import StudyState, TrialState
from storage.store import Store
from workers.errors import DeviceRefused, DeviceUnreachable
from workers.jobs import Job, Measure
from workers.results import MeasureResult, Reading


def test_with_every_device_there_each_trial_is_measured_on_each(there: Home_) -> None:
    work = Workshop()
    assert there.launch(work) is StudyState.FINISHED
    assert {t.state for t in there.trials} == {TrialState.COMPLETE}
    assert both_measured(there.trials)
    assert len(work.tried) == N_TRIALS + 1
    assert there.messages.of_devices == []
    assert set(there.stages().values()) == {1}


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_device_that_goes_and_comes_back_delays_only_its_measurements(
    there: Home_, first: int
) -> None:
    work = Workshop(away=5, first=first)
    assert there.launch(work) is StudyState.FINISHED
    assert {t.state for t in there.trials} == {TrialState.COMPLETE}
    assert both_measured(there.trials)
    assert there.messages.of_devices == [
        f"pi5: {AWAY}; its measurements wait, the rest goes on",
        "pi5 is back",
    ]
    assert set(there.stages().values()) == {1}  # an absence is no attempt that failed
    assert "latency_p95_ms@pi5" in there.study.teacher_metrics


def test_trainings_go_on_while_a_device_is_away(there: Home_) -> None:
    class Waiting(Workshop):
        """The device comes back when nothing else is left to do."""

        def _measure(self, job: Measure) -> MeasureResult:
            self.n_away = self.stages.count("export") <= N_TRIALS
            return super()._measure(job)

    work = Waiting()
    assert there.launch(work) is StudyState.FINISHED
    assert both_measured(there.trials)
    assert "is back" in there.messages.of_devices[1]
    assert {f"{n} wait for pi5" for n in (1, 2, 3)} <= there.messages.waiting
    assert there.messages.away == {"pi5"}


def test_one_attempt_at_a_time_asks_a_device_that_is_away(there: Home_) -> None:
    work = Workshop(away=4)
    there.launch(work, parallel=4)
    assert len(work.tried) == 4 + N_TRIALS + 1


def test_one_measurement_at_a_time_is_sent_to_a_device(there: Home_) -> None:
    class Watching(InlineExecutor):
        most = 0

        def submit(self, ticket: int, job: Job) -> None:
            super().submit(ticket, job)
            waiting = [j for _, j in self._waiting if isinstance(j, Measure)]
            remote = sum(j.target_name == "pi5" for j in waiting)
            self.most = max(self.most, remote)

    there.path.write_text(TEXT)
    executor = Watching(Workshop())
    launch(str(there.path), there.home, Options(parallel=5), View(), executor, PACE)
    assert executor.most == 1
    assert both_measured(there.trials)


# a device that does not come back


@pytest.mark.parametrize(
    ("error", "said"),
    [(DeviceUnreachable, AWAY), (DeviceRefused, REFUSED)],
    ids=["away", "refused"],
)
def test_trials_that_waited_in_vain_end_unmeasured_and_are_measured_later(
    there: Home_, error: type[Exception], said: str
) -> None:
    assert there.launch(Workshop(away=1e9, error=error), IMPATIENT) is StudyState.FINISHED
    assert [t.number for t in there.trials] == list(range(N_TRIALS))
    for trial in there.trials:
        assert trial.state is TrialState.UNMEASURED
        assert trial.objective_values is None
        assert trial.reason == (
            f"not measured on pi5 ({said}); `search measure fake` does it when the device is back"
        )
    assert there.messages.of_devices == [f"pi5: {said}; its measurements wait, the rest goes on"]
    assert there.messages.said[-1] == (
        f"finished: 0 of {N_TRIALS} trials complete, {N_TRIALS} wait to be measured"
    )
    assert "latency_p95_ms@pi5" not in there.study.teacher_metrics

    later = Workshop()
    assert there.measure(later) is StudyState.FINISHED
    assert {t.state for t in there.trials} == {TrialState.COMPLETE}
    assert {t.reason for t in there.trials} == {None}
    assert both_measured(there.trials)
    assert set(later.stages) == {"prepare", "teacher_targets", "measure"}
    assert {job.target_name for job in later.jobs if isinstance(job, Measure)} == {"pi5"}
    assert there.study.teacher_metrics["latency_p95_ms@pi5"] > 0
    assert len(there.samples("teacher", "pi5", "latency_p95_ms")) == 1


def test_launching_again_measures_what_was_left_too(there: Home_) -> None:
    there.launch(Workshop(away=1e9), IMPATIENT)
    later = Workshop()
    assert there.launch(later, IMPATIENT, trials=N_TRIALS + 1) is StudyState.FINISHED
    assert len(there.trials) == N_TRIALS + 1
    assert both_measured(there.trials)
    assert later.stages.count("train") <= 1


def test_a_device_that_is_still_away_leaves_everything_as_it_was(there: Home_) -> None:
    there.launch(Workshop(away=1e9), IMPATIENT)
    before = there.trials
    again = Workshop(away=1e9)
    assert there.measure(again) is StudyState.FINISHED
    assert [t.state for t in there.trials] == [TrialState.UNMEASURED] * N_TRIALS
    assert [t.reason for t in there.trials] == [t.reason for t in before]
    assert set(again.stages) == {"prepare", "teacher_targets", "measure"}


def test_a_study_is_measured_to_its_end_however_often_the_device_goes(there: Home_) -> None:
    there.launch(Workshop(away=1e9), IMPATIENT)
    rounds = 0
    while not both_measured(there.trials):
        rounds += 1
        assert rounds < 20
        there.measure(Workshop(away=1e9, first=1))
    assert rounds > N_TRIALS  # one a time, the teacher first
    assert max(there.stages()[key] for key in there.stages() if "measure" in key[1]) == 1


def test_measure_begins_nothing_new(there: Home_) -> None:
    there.launch(Workshop(away=1e9), IMPATIENT)
    store = Store(there.home.store_url)
    store.studies.change(store.studies.get("fake").id, trials_wanted=N_TRIALS + 5)
    store.close()
    there.measure(Workshop())
    assert len(there.trials) == N_TRIALS


def test_a_deterministic_search_goes_on_past_a_device_that_is_away(there: Home_) -> None:
    state = there.launch(Workshop(away=1e9), IMPATIENT, deterministic=True)
    assert state is StudyState.FINISHED
    assert len(there.trials) == N_TRIALS
    assert {t.state for t in there.trials} == {TrialState.UNMEASURED}


def test_a_first_target_that_is_away_is_waited_for_too(there: Home_) -> None:
    text = IMPATIENT.replace("  cpu: {}\n", "").replace(
        "objectives: [wer, latency_p95_ms, ", "  cpu: {}\nobjectives: [wer, "
    )
    assert there.launch(Workshop(away=1e9), text) is StudyState.FINISHED
    assert {t.state for t in there.trials} == {TrialState.UNMEASURED}
    there.measure(Workshop())
    assert {t.state for t in there.trials} == {TrialState.COMPLETE}
    for trial in there.trials:
        assert trial.metrics["latency_p95_ms"] == trial.metrics["latency_p95_ms@pi5"]


def test_a_budget_that_leans_on_the_teacher_there_waits_for_it(there: Home_) -> None:
    text = IMPATIENT + 'budgets: {"latency_p95_ms@pi5": "<= teacher + 0"}\n'
    assert there.launch(Workshop(away=1e9), text) is StudyState.FINISHED
    there.measure(Workshop())
    limit = there.study.teacher_metrics["latency_p95_ms@pi5"]
    for trial in there.trials:
        met = trial.metrics["latency_p95_ms@pi5"] <= limit
        assert (trial.state is TrialState.COMPLETE) == met


def test_a_phone_may_be_the_first_target(there: Home_, monkeypatch) -> None:
    """It times the network alone, so that what is said of a trial has no latency."""
    monkeypatch.setattr("search.devices.check.check", lambda _space: [])  # no adb here

    class Phone(Work):
        def _measure(self, job: Measure) -> MeasureResult:
            return MeasureResult(readings=(Reading(metric="graph_p95_ms", value=3.0),))

    text = TEXT.partition("targets:")[0] + (
        "targets: {phone: {adb: R58M}}\nobjectives: [wer, graph_p95_ms]\n"
    )
    work = Phone()
    assert there.launch(work, text) is StudyState.FINISHED
    assert {t.state for t in there.trials} == {TrialState.COMPLETE}
    assert any("graph p95 3.0 ms" in m for m in there.messages.said)
