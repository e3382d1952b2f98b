"""What a search decides of its trials: who is screened out, who meets the budgets, who leads."""

from __future__ import annotations

import pytest
from coordinated import Silent, run
from fakes import SPACE, Work, space

from search.analysis.front import front_numbers
from search.analysis.trial_frame import trial_frame
from search.errors import StudyFault
from search.home import Home
from search.policy import policy_of
from storage.records import TrialState
from storage.store import Store
from workers.results import Reading


def front(trials, study, text=SPACE):
    """The trials that nothing beats, in the order of the front."""
    made = space(text)
    policy = policy_of(study.deterministic)
    numbers = front_numbers(trial_frame(trials, study, made), made.objectives, policy)
    return [trials[number] for number in numbers]


def test_a_deterministic_search_tries_the_same_recipes_however_parallel(tmp_path):
    outcomes = []
    for parallel in (1, 2, 4, 7):
        home = Home.at(tmp_path / str(parallel))
        _, trials, _, study = run(home, Work(), parallel=parallel, deterministic=True)
        on_front = front(trials, study)
        outcomes.append(([t.recipe_digest for t in trials], [t.number for t in on_front]))
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_a_student_over_a_hard_budget_is_screened_out_and_never_trained(home):
    work = Work()
    text = SPACE + 'budgets: {size_mb: "<= 4"}\n'
    _, trials, *_ = run(home, work, text)
    out = [t for t in trials if t.state is TrialState.SCREENED_OUT]
    assert out
    assert all("size_mb <= 4" in t.reason for t in out)
    assert all(t.objective_values is None and t.constraints["size_mb <= 4"] > 0 for t in out)
    trained = [j for j in work.jobs if j.stage == "train"]
    assert len(trained) == 1 + sum(t.state is not TrialState.SCREENED_OUT for t in trials)


def test_a_measured_student_over_a_budget_is_infeasible_and_not_on_the_front(home):
    text = SPACE + 'budgets: {wer: "<= 0.2"}\n'
    _, trials, _, study = run(home, Work(), text)
    infeasible = [t for t in trials if t.state is TrialState.INFEASIBLE]
    assert infeasible
    assert all(t.metrics["wer"] > 0.2 for t in infeasible)
    assert all(t.metrics["wer"] <= 0.2 for t in front(trials, study, text))


def test_a_budget_may_lean_on_the_teacher(home):
    text = SPACE + 'budgets: {wer: "<= teacher + 0.05"}\n'
    _, trials, *_ = run(home, Work(), text)
    teacher = Store(home.store_url).studies.get("fake").teacher_metrics["wer"]
    for trial in trials:
        met = trial.metrics["wer"] <= teacher + 0.05
        assert (trial.state is TrialState.COMPLETE) == met


def test_a_budget_that_leans_on_a_figure_the_teacher_lacks_is_refused(home):
    text = SPACE + 'budgets: {peak_memory_mb: "<= teacher + 0"}\n'
    with pytest.raises(StudyFault, match="peak_memory_mb of this teacher is not measured here"):
        run(home, Work(), text)


def test_a_timed_budget_decides_nothing_in_a_deterministic_study_and_that_is_said(home):
    text = SPACE + 'budgets: {latency_p95_ms: "<= 3"}\n'
    view = Silent()
    _, trials, *_ = run(home, Work(), text, view=view, deterministic=True)
    assert any(t.metrics["latency_p95_ms"] > 3 and t.state is TrialState.COMPLETE for t in trials)
    assert not any("latency" in (t.reason or "") for t in trials)
    assert any("latency_p95_ms <= 3 is timed" in m for m in view.messages)


def test_a_larger_student_is_trained_though_a_small_one_is_as_good_as_the_teacher(home):
    class Lucky(Work):
        """Every student is as good as the teacher; a larger one may still be better."""

        def _score(self, job):
            result = super()._score(job)
            if job.tokens is not None:  # the teacher brings its own
                return result
            perfect = Reading(metric="wer", value=0.01)
            return result.model_copy(update={"readings": (perfect,)})

    text = SPACE.replace("search:", "objectives: [wer, size_mb]\nsearch:")
    _, trials, *_ = run(home, Lucky(), text)
    assert not [t for t in trials if t.state is TrialState.SCREENED_OUT]
