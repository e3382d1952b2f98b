"""At the end of a search its front is scored on test: once, and nothing is chosen by it."""

from __future__ import annotations

import random

import pytest
from coordinated import CACHED, Killed, Silent, run
from fakes import SPACE, Work, space

from search.analysis.trial_frame import study_frame
from search.executors.inline import InlineExecutor
from search.study.options import Options, with_options
from spaces.metrics import TEST_METRICS
from storage.records import StudyState, TrialState
from storage.store import Store

SHORT = SPACE.replace("trials: 14", "trials: 6")
TESTED = SHORT.replace("synthetic: {}", "synthetic: {test_utterances: 20}")
TWO_RUNTIMES = TESTED + "targets: {ov: {backend: openvino}, cpu: {}}\n"


def of_stage(work, stage):
    return [job for job in work.jobs if job.stage == stage]


def front(home, study, text=TESTED):
    store = Store(home.store_url)
    frame = study_frame(store, store.studies.get(study.name), space(text))
    return set(frame.loc[frame["on_front"], "number"])


def told(trials):
    return {t.number for t in trials if "test_wer" in t.metrics}


def test_the_front_and_the_teacher_are_scored_when_all_else_is_done_and_no_other_trial(home):
    work, view = Work(), Silent()
    state, trials, store, study = run(home, work, TESTED, view=view)
    assert state is StudyState.FINISHED
    best = front(home, study)
    assert 0 < len(best) < len(trials)
    assert told(trials) == best
    assert len(of_stage(work, "test")) == len(best) + 1
    assert {job.stage for job in work.jobs[-len(best) - 1 :]} == {"test"}
    assert {job.corpus for job in of_stage(work, "test")} == {"test-1"}
    assert set(TEST_METRICS) <= set(store.studies.get(study.name).teacher_metrics)
    assert view.messages[-1].startswith("finished: 6 of 6")
    assert view.messages[-2].startswith(("trial", "teacher"))
    assert sum("on test WER" in message for message in view.messages) == len(best) + 1


def test_what_test_says_changes_no_trial_of_the_search(home, tmp_path):
    from search.home import Home

    _, with_test, *_ = run(home, Work(), TESTED)
    _, without, *_ = run(Home.at(tmp_path / "other"), Work(), SHORT)

    def decided(t):
        metrics = {m: v for m, v in t.metrics.items() if m.partition("@")[0] not in TEST_METRICS}
        return t.values, t.state, metrics, t.objective_values, t.constraints

    assert list(map(decided, with_test)) == list(map(decided, without))


def test_no_stage_but_the_last_is_given_the_test_set(home):
    work = Work()
    run(home, work, TESTED)
    others = [j for j in work.jobs if j.stage not in ("test", "prepare")]
    assert others
    assert not any("test-1" in job.model_dump_json() for job in others)


def test_another_launch_scores_nothing_again(home):
    run(home, Work(), TESTED)
    again = Work()
    _, trials, store, study = run(home, again, TESTED)
    assert {job.stage for job in again.jobs} <= set(CACHED)
    assert told(trials) == front(home, study)
    assert "test_wer" in store.studies.get(study.name).teacher_metrics


def test_after_an_extension_only_new_members_of_the_front_are_scored(home):
    first = Work()
    _, _, _, study = run(home, first, TESTED)
    before = front(home, study)
    second = Work()
    _, trials, *_ = run(home, second, TESTED, trials=20)
    new = front(home, study) - before
    assert new
    assert len(of_stage(second, "test")) == len(new)
    assert told(trials) == before | front(home, study)  # what was told stays told


@pytest.mark.parametrize("seed", range(3))
def test_killed_while_it_scores_it_goes_on_and_scores_each_once(home, seed):
    rng, work = random.Random(seed), Work()

    class Mortal(InlineExecutor):
        def poll(self, timeout_s):
            found = super().poll(timeout_s)
            if of_stage(work, "test") and rng.random() < 0.4:
                raise Killed
            return found

        def close(self):
            pass

    for _ in range(60):
        try:
            state, trials, _, study = run(home, work, TESTED, executor=Mortal(work))
        except Killed:
            continue
        break
    assert state is StudyState.FINISHED
    assert told(trials) == front(home, study)
    runs = [r for r in Store(home.store_url).stage_runs.of(study.id) if r.stage.startswith("test@")]
    assert len(runs) == len({r.trial_number for r in runs}) == len(told(trials)) + 1


def test_figures_that_were_recorded_but_not_yet_told_are_told_without_scoring(home):
    _, trials, store, study = run(home, Work(), TESTED)
    lost = min(told(trials))
    record = store.trials.get(study.id, lost)
    plain = {m: v for m, v in record.metrics.items() if m.partition("@")[0] not in TEST_METRICS}
    store.trials.save(record.evolve(metrics=plain))
    again = Work()
    _, trials, *_ = run(home, again, TESTED)
    assert not of_stage(again, "test")
    assert trials[lost].metrics == record.metrics


def test_a_score_that_fails_is_told_and_costs_no_trial(home):
    class Broken(Work):
        def _test(self, job):
            raise RuntimeError("out of luck")

    view = Silent()
    state, trials, *_ = run(home, Broken(), TESTED, view=view)
    assert state is StudyState.FINISHED
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert not told(trials)
    assert any(
        "not scored on test: test@cpu: RuntimeError: out of luck" in m for m in view.messages
    )
    assert view.messages[-1].startswith("finished")
    _, trials, _, study = run(home, Work(), TESTED)  # and another launch tries it again
    assert told(trials) == front(home, study)


def test_a_test_set_that_is_another_by_now_is_scored_on_anew_and_old_figures_go(home):
    run(home, Work(), TESTED)

    class Changed(Work):
        def _prepare(self, job):
            return super()._prepare(job).model_copy(update={"test_corpus": "test-2"})

    work = Changed()
    _, trials, _, study = run(home, work, TESTED, trials=20)
    assert {job.corpus for job in of_stage(work, "test")} == {"test-2"}
    assert told(trials) == front(home, study)


def test_a_study_that_was_begun_without_a_test_set_can_be_given_one(home):
    run(home, Work(), SHORT)
    work = Work()
    state, trials, _, study = run(home, work, TESTED)
    assert state is StudyState.FINISHED
    assert {job.stage for job in work.jobs} <= {*CACHED, "test"}
    assert told(trials) == front(home, study)


def test_each_runtime_of_a_space_is_asked_and_the_first_goes_by_the_plain_name(home):
    work = Work()
    _, trials, _, study = run(home, work, TWO_RUNTIMES)
    best = front(home, study, TWO_RUNTIMES)
    asked = {(job.runtime, job.model.backend) for job in of_stage(work, "test")}
    assert {backend for _, backend in asked} == {"onnxruntime", "openvino"}
    assert told(trials) == best
    for number in best:
        metrics = trials[number].metrics
        assert metrics["test_wer"] == metrics["test_wer@ov"] != metrics["test_wer@cpu"]


def test_a_search_that_is_stopped_first_scores_nothing(home):
    work = Work()

    class Interrupted(InlineExecutor):
        def poll(self, timeout_s):
            if len(work.jobs) == 22:
                raise KeyboardInterrupt
            return super().poll(timeout_s)

    state, trials, *_ = run(home, work, TESTED, executor=Interrupted(work))
    assert state is StudyState.STOPPED
    assert any(t.state is TrialState.COMPLETE for t in trials)
    assert not of_stage(work, "test")


def test_a_table_is_recorded_without_the_test_set():
    recorded = with_options(space(TESTED), Options(is_recording=True))
    assert recorded.data.synthetic is not None
    assert recorded.data.synthetic.test_utterances == 0
