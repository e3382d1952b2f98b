"""A search tries every recipe once and goes on where it was ended."""

from __future__ import annotations

import random
from contextlib import closing

import pytest
from coordinated import CACHED, Killed, Silent, run
from fakes import SPACE, Work

from search.executors.inline import InlineExecutor
from search.study.launch import launch
from search.study.options import Options
from storage.records import StudyState, TrialState
from storage.store import Store
from workers.jobs import key_of


def test_every_trial_asked_for_is_tried_and_recorded(home):
    state, trials, *_ = run(home, Work())
    assert state is StudyState.FINISHED
    assert [t.number for t in trials] == list(range(14))
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert len({t.recipe_digest for t in trials}) == 14
    assert all("wer" in t.metrics and t.objective_values is not None for t in trials)


def test_a_finished_study_launched_again_does_nothing(home):
    run(home, Work())
    again = Work()
    state, trials, *_ = run(home, again)
    assert state is StudyState.FINISHED
    assert {job.stage for job in again.jobs} <= set(CACHED)
    assert len(trials) == 14


def _commented(text):
    return f"# what it is for\n{text}# and who asked for it\n"


def _longer(text):
    return text.replace("trials: 14", "trials: 16")


@pytest.mark.parametrize(
    ("change", "folder", "n_trials"),
    [
        (_commented, "one", 14),
        (_longer, "one", 16),
        (str, "another", 14),
        (lambda text: _longer(_commented(text)), "another", 16),
    ],
    ids=["comment", "trials", "moved", "all"],
)
def test_a_comment_another_number_of_trials_or_a_moved_file_repeats_no_finished_stage(
    home, tmp_path, change, folder, n_trials
):
    def launched(text, folder):
        path = tmp_path / folder / "fake.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        work = Work()
        study, state = launch(str(path), home, Options(), Silent(), InlineExecutor(work))
        path.unlink()
        assert state is StudyState.FINISHED
        with closing(Store(home.store_url)) as store:
            return work.jobs, store.trials.of(study.id), store.stage_runs.of(study.id)

    def keys(jobs, stage):
        return {key_of(job) for job in jobs if job.stage == stage}

    first_jobs, first_trials, first_runs = launched(SPACE, "one")
    jobs, trials, runs = launched(change(SPACE), folder)
    assert trials[:14] == first_trials
    assert len(trials) == n_trials
    repeated = [r for r in runs if r not in first_runs and r.stage not in CACHED]
    assert {r.trial_number for r in repeated} == set(range(14, n_trials))  # of new trials only
    assert len([j for j in jobs if j.stage not in CACHED]) == len(repeated)
    for stage in CACHED:
        assert len(keys(jobs, stage)) == 1
        assert keys(jobs, stage) == keys(first_jobs, stage)


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random_moments_it_ends_with_every_trial_once_and_no_stage_done_twice(home, seed):
    rng = random.Random(seed)
    work = Work()

    class Mortal(InlineExecutor):
        def poll(self, timeout_s):
            if rng.random() < 0.04:
                raise Killed
            return super().poll(timeout_s)

        def close(self):
            pass

    for _ in range(60):
        try:
            state, trials, _, study = run(home, work, executor=Mortal(work))
        except Killed:
            continue
        break
    assert state is StudyState.FINISHED
    assert [t.number for t in trials] == list(range(14))
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    runs = Store(home.store_url).stage_runs.of(study.id)
    recorded = [(r.trial_number, r.stage) for r in runs if r.stage not in CACHED]
    assert len(recorded) == len(set(recorded))


def test_ctrl_c_stops_cleanly(home):
    work = Work()

    class Interrupted(InlineExecutor):
        def poll(self, timeout_s):
            if len(work.jobs) == 12:
                raise KeyboardInterrupt
            return super().poll(timeout_s)

    state, *_ = run(home, work, executor=Interrupted(work))
    assert state is StudyState.STOPPED
    state, trials, *_ = run(home, work)
    assert state is StudyState.FINISHED
    assert len(trials) == 14


def test_a_tiny_space_ends_when_every_recipe_was_tried(home):
    text = """
name: fake
data: {synthetic: {}}
teacher: {train: {}}
students: {separable_conv: {channels: [32, 64], blocks: [2, 4]}}
search: {trials: 50}
"""
    view = Silent()
    state, trials, *_ = run(home, Work(), text, view=view)
    assert state is StudyState.FINISHED
    assert len(trials) == 4
    assert view.messages[-1].startswith("every recipe of the space has been tried")


def test_students_that_differ_only_in_bits_share_one_training(home):
    text = """
name: fake
data: {synthetic: {}}
teacher: {train: {}}
students: {separable_conv: {channels: [32]}}
quantize: {scheme: [fp32, fp16, int8_dynamic, int8_static]}
search: {trials: 4}
"""
    work = Work()
    run(home, work, text)
    keys = {k for j in work.jobs if j.stage == "train" for k in [j.model_dump_json()]}
    assert len(keys) == 2  # the teacher's and one student's
