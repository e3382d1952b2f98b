"""The end of a search: its front is measured once more, and figures are those of both sessions."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from coordinated import Killed, Silent, run
from fakes import SPACE, Work

from search.home import Home
from storage.records import StudyState, TrialState
from workers.errors import WorkError
from workers.jobs import Measure, key_of
from workers.results import MeasureResult, Reading


class Twice(Work):
    """A second session takes so many times as long."""

    def __init__(self, times=1.2):
        super().__init__()
        self.times = times

    def _measure(self, job):
        made = super()._measure(job)
        value = made.readings[1].value * (self.times if job.session else 1.0)
        readings = [Reading(metric="latency_p95_ms", value=value)]
        for end, factor in (("low", 1 / 1.1), ("high", 1.1)):
            readings.append(Reading(metric=f"latency_p95_ms_{end}", value=value * factor))
        return MeasureResult(readings=(*made.readings[:1], *readings, *made.readings[2:]))


def confirmed(work: Work) -> list[Measure]:
    return [j for j in work.jobs if isinstance(j, Measure) and j.session]


def test_the_front_is_measured_once_more_when_all_trials_are_done(home):
    work = Twice()
    state, trials, *_ = run(home, work)
    assert state is StudyState.FINISHED
    again = confirmed(work)
    assert 0 < len(again) < len(trials)
    first = work.jobs.index(again[0])
    assert all(isinstance(j, Measure) and j.session for j in work.jobs[first:])


def test_figures_are_the_means_of_both_sessions_with_narrower_intervals(home):
    work, view = Twice(1.21), Silent()
    _, trials, *_ = run(home, work, view=view)
    ratios = Counter()
    for trial in trials:
        low, high = (trial.metrics[f"latency_p95_ms_{end}"] for end in ("low", "high"))
        assert low < trial.metrics["latency_p95_ms"] < high
        ratios[round(high / low, 3)] += 1
    assert ratios[round(1.1**2, 3)] + ratios[round(1.1 ** math.sqrt(2), 3)] == len(trials)
    assert ratios[round(1.1 ** math.sqrt(2), 3)] == len(
        {j.model.files["model.onnx"] for j in confirmed(work)}
    )
    assert any("of the front once more" in m for m in view.messages)


def test_a_study_taken_up_again_confirms_nothing_twice(home):
    first, second = Twice(), Twice()
    run(home, first)
    run(home, second)
    assert confirmed(first)
    assert not confirmed(second)


def test_an_extended_study_confirms_only_who_is_new_on_the_front(home):
    first, second = Twice(), Twice()
    run(home, first)
    run(home, second, SPACE.replace("trials: 14", "trials: 24"))
    done = {key_of(j) for j in confirmed(first)}
    assert not done & {key_of(j) for j in confirmed(second)}


def test_a_confirmation_that_fails_harms_no_trial(home):
    class Failing(Twice):
        def _measure(self, job):
            if job.session:
                raise WorkError("no quiet to be had")
            return super()._measure(job)

    view = Silent()
    state, trials, *_ = run(home, Failing(), view=view)
    assert state is StudyState.FINISHED
    assert all(t.state is TrialState.COMPLETE for t in trials)
    assert any("its first measurement stands" in m for m in view.messages)


@pytest.mark.parametrize("change", ["confirm: false, ", ""])
def test_nobody_is_measured_again_where_that_is_off_or_times_decide_nothing(tmp_path, change):
    work = Twice()
    text = SPACE.replace("search: {", f"search: {{{change}")
    run(Home.at(tmp_path), work, text, deterministic=not change)
    assert not confirmed(work)


def test_a_killed_search_confirms_the_rest(home):
    class Mortal(Twice):
        def _measure(self, job):
            if len(confirmed(self)) == 2:
                raise Killed
            return super()._measure(job)

    first, second = Mortal(), Twice()
    with pytest.raises(Killed):
        run(home, first, parallel=1)
    _, trials, *_ = run(home, second, parallel=1)
    keys = [key_of(j) for j in confirmed(first)[:1] + confirmed(second)]
    assert len(keys) == len(set(keys))
    assert confirmed(second)
    assert all(t.state is TrialState.COMPLETE for t in trials)


def test_who_was_on_the_front_by_luck_falls_off_and_that_is_told(tmp_path):
    """Errors and time decide; the fastest, which makes more errors, was ten times luckier."""
    text = SPACE.replace("search: {", "search: {sampler: random, ") + (
        "objectives: [wer, latency_p95_ms]\n"
    )
    alone = text.replace("sampler: random", "sampler: random, confirm: false")
    _, trials, *_ = run(Home.at(tmp_path / "a"), Twice(), alone, parallel=1)
    lucky = min(trials, key=lambda t: t.metrics["latency_p95_ms"])
    assert any(t.metrics["wer"] < lucky.metrics["wer"] for t in trials)

    class Unlucky(Twice):
        def _measure(self, job):
            before = len([j for j in self.jobs if j.stage == "train"]) - 2
            seen = self.models.setdefault(job.model.files["model.onnx"], before)
            self.times = 100.0 if seen == lucky.number else 1.0
            return super()._measure(job)

        models: dict[str, int]

    work, view = Unlucky(), Silent()
    work.models = {}
    _, after, *_ = run(Home.at(tmp_path / "b"), work, text, view=view, parallel=1)
    assert [t.recipe_digest for t in after] == [t.recipe_digest for t in trials]
    assert f"measured again, trial {lucky.number} is off the front" in view.messages
    again = after[lucky.number].metrics["latency_p95_ms"]
    assert again == pytest.approx(10 * lucky.metrics["latency_p95_ms"])
