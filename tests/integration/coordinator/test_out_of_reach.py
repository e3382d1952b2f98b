"""What no student can meet, and what no device tells, is said before a teacher is trained."""

from __future__ import annotations

import re

import pytest
from coordinated import run
from fakes import SPACE, Work

from search.errors import StudyFault, UsageFault
from search.executors.inline import InlineExecutor
from search.study.launch import launch
from search.study.options import Options
from storage.records import StudyState


def budget(text: str) -> str:
    return f"{SPACE}budgets: {{{text}}}\n"


class Timed(Work):
    """Screens so many milliseconds of every student."""

    def __init__(self, latency_p95_ms: float) -> None:
        super().__init__()
        self._latency_p95_ms = latency_p95_ms

    def _sizes(self, dims, scheme):
        others = [r for r in super()._sizes(dims, scheme) if r.metric != "latency_p95_ms"]
        return (*others, others[0].model_copy(update=self._time()))

    def _time(self):
        return {"target": "cpu", "metric": "latency_p95_ms", "value": self._latency_p95_ms}


def test_budgets_that_no_student_can_meet_are_refused_before_the_teacher(home):
    work = Work()
    with pytest.raises(StudyFault) as caught:
        run(home, work, budget('size_mb: "<= 0.1"'))
    assert caught.value.is_user_fault
    said = "no student of this space can meet size_mb <= 0.1: the smallest separable_conv has 0."
    assert said in str(caught.value)
    assert "the largest conformer has" in str(caught.value)
    assert {job.stage for job in work.jobs} == {"prepare", "screen"}


def test_with_the_budget_mended_the_study_goes_on_under_its_name(home):
    with pytest.raises(StudyFault):
        run(home, Work(), budget('size_mb: "<= 0.1"'))
    state, trials, *_ = run(home, Work(), budget('size_mb: "<= 1000"'), trials=2)
    assert state is StudyState.FINISHED
    assert len(trials) == 2


def test_one_end_within_the_budgets_is_enough(home):
    work = Work()
    run(home, work, budget('size_mb: "<= 4"'), trials=1)
    first = [job.stage for job in work.jobs].index("train")
    assert [job.stage for job in work.jobs][:first] == ["prepare", "screen"]


@pytest.mark.parametrize("metric", ["wer", "cer"])
def test_nothing_is_screened_for_budgets_that_only_a_trained_student_tells(home, metric):
    work = Work()
    run(home, work, budget(f'{metric}: "<= 0.9"'), trials=1)
    assert [job.stage for job in work.jobs][:2] == ["prepare", "train"]


@pytest.mark.parametrize(("latency_p95_ms", "is_refused"), [(9.0, False), (11.0, True)])
def test_a_time_is_out_of_reach_when_it_is_more_than_twice_its_limit(
    home, latency_p95_ms, is_refused
):
    """A few runs tell it roughly, and a student between the ends may be the fastest."""
    work, text = Timed(latency_p95_ms), budget('latency_p95_ms: "<= 5"')
    if is_refused:
        with pytest.raises(StudyFault, match="no student of this space can meet latency_p95_ms"):
            run(home, work, text)
    else:
        assert run(home, work, text, trials=1)[0] is StudyState.FINISHED


def test_a_deterministic_search_refuses_nothing_for_a_time(home):
    state, *_ = run(
        home, Timed(11.0), budget('latency_p95_ms: "<= 5"'), deterministic=True, trials=1
    )
    assert state is StudyState.FINISHED


def test_a_search_that_has_its_teacher_does_not_look_at_the_ends_again(home):
    text = budget('size_mb: "<= 4"')
    run(home, Work(), text, trials=1)
    work = Work()
    run(home, work, text, trials=1)
    assert "screen" not in {job.stage for job in work.jobs}


@pytest.mark.parametrize("line", ["objectives: [wer, energy_mj]", 'budgets: {energy_mj: "<= 5"}'])
def test_a_metric_that_no_device_tells_is_refused_before_anything_is_done(
    home, tmp_path, monkeypatch, line
):
    monkeypatch.setattr("workers.probe.machine.energy_j", lambda gpu: None)
    path, work = tmp_path / "fake.yaml", Work()
    path.write_text(f"{SPACE}{line}\n")
    with pytest.raises(
        UsageFault, match=re.escape("energy_mj: cpu (this machine) does not tell energy_mj, so")
    ):
        launch(str(path), home, Options(), None, InlineExecutor(work))
    assert work.jobs == []
