"""A whole search with work that follows from the recipe: what is decided, kept and resumed."""

from __future__ import annotations

import random
from contextlib import closing

import pytest
from fakes import SPACE, Work, space

from search.analysis.front import front_numbers
from search.analysis.trial_frame import trial_frame
from search.errors import StudyFault
from search.executors.inline import InlineExecutor
from search.home import Home
from search.policy import policy_of
from search.study.coordinator import Coordinator, Pace
from search.study.launch import launch
from search.study.opening import open_study, study_settings
from search.study.options import Options, with_options
from storage.records import StudyState, TrialState
from storage.store import Store
from workers.errors import UserFault
from workers.jobs import key_of
from workers.results import Reading

CACHED = ("prepare", "teacher_targets")  # looked for anew at every launch: a cache may be gone
EAGER = Pace(commands_every_s=0.0)  # looks for commands at every turn


class Silent:
    def __init__(self):
        self.messages = []

    def event(self, event):
        self.messages.append(event.message)

    def tick(self, snapshot):
        self.last = snapshot


class Killed(BaseException):
    """Stands for a kill: nothing in the coordinator catches it."""


@pytest.fixture
def home(tmp_path):
    return Home.at(tmp_path)


def run(home, work, text=SPACE, view=None, executor=None, pace=None, **options):
    options = Options(**options)
    made = with_options(space(text), options)
    store = Store(home.store_url)
    study = open_study(store, made, text, "fake.yaml", options)
    settings = study_settings(store, study, made, home)
    coordinator = Coordinator(
        store,
        store.studies.get(study.name),
        made,
        settings,
        policy_of(study.deterministic),
        executor or InlineExecutor(work),
        view or Silent(),
        pace=pace,
    )
    try:
        state = coordinator.run()
        return state, store.trials.of(study.id), store, study
    finally:
        store.close()


def front(trials, study, text=SPACE):
    """The trials that nothing beats, in the order of the front."""
    made = space(text)
    policy = policy_of(study.deterministic)
    numbers = front_numbers(trial_frame(trials, study, made), made.objectives, policy)
    return [trials[number] for number in numbers]


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


def test_a_stage_that_fails_is_tried_again_then_the_trial_is_failed_with_its_reason(home):
    class Flaky(Work):
        def _export(self, job):
            if self.done[job_key := job.checkpoint[:8] + job.quantize.encoder] == 0:
                self.done[job_key] += 1
                raise RuntimeError("out of luck")
            return super()._export(job)

    view = Silent()
    _, trials, *_ = run(home, Flaky(), view=view)
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert any("out of luck" in m and "trying again" in m for m in view.messages)


def test_a_trial_that_keeps_failing_ends_failed_and_the_study_goes_on(home):
    class Broken(Work):
        def _compress(self, job):
            raise RuntimeError("no such channel")

    _, trials, *_ = run(home, Broken())
    failed = [t for t in trials if t.state is TrialState.FAILED]
    assert failed
    assert all(t.reason == "compress: RuntimeError: no such channel (2 attempts)" for t in failed)
    assert all(t.values["prune.ratio"] > 0 for t in failed)
    assert any(t.state is TrialState.COMPLETE for t in trials)


def test_a_fault_in_the_users_data_ends_the_study_as_the_users(home):
    class Refusing(Work):
        def _prepare(self, job):
            raise UserFault("train.jsonl:3: no such file")

    with pytest.raises(StudyFault, match=r"train\.jsonl:3") as caught:
        run(home, Refusing())
    assert caught.value.is_user_fault
    assert Store(home.store_url).studies.get("fake").state is StudyState.FAILED


def test_data_that_changed_under_a_study_is_refused(home):
    run(home, Work(), trials=4)

    class Changed(Work):
        def _prepare(self, job):
            return super()._prepare(job).model_copy(update={"corpus": "corpus-2"})

    with pytest.raises(StudyFault, match="the data changed since this study began"):
        run(home, Changed(), trials=8)


def test_commands_from_another_shell_are_obeyed(home):
    work = Work()

    class Commanding(InlineExecutor):
        sent = False

        def poll(self, timeout_s):
            if not self.sent and any(j.stage == "screen" for j in work.jobs):
                self.sent = True
                store = Store(home.store_url)
                study = store.studies.get("fake")
                store.studies.change(study.id, trials_wanted=16)
                store.commands.add(study.id, "extend", 2)
                store.commands.add(study.id, "cancel", 1)
                store.commands.add(study.id, "pause")
                store.commands.add(study.id, "resume")
                store.close()
            return super().poll(timeout_s)

    view = Silent()
    _, trials, *_ = run(home, work, executor=Commanding(work), view=view, pace=EAGER)
    assert len(trials) == 16
    assert trials[1].state is TrialState.CANCELLED
    assert "paused: nothing new starts" in view.messages
    assert "resumed" in view.messages


def test_stop_ends_the_study_and_a_launch_continues_it(home):
    work = Work()

    class Stopping(InlineExecutor):
        def poll(self, timeout_s):
            if sum(j.stage == "measure" for j in work.jobs) == 3:
                store = Store(home.store_url)
                store.commands.add(store.studies.get("fake").id, "stop")
                store.close()
            return super().poll(timeout_s)

    state, *_ = run(home, work, executor=Stopping(work), pace=EAGER)
    assert state is StudyState.STOPPED
    state, trials, *_ = run(home, work)
    assert state is StudyState.FINISHED
    assert all(t.state is TrialState.COMPLETE for t in trials)


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


def test_a_student_that_a_finished_one_beats_even_at_the_teachers_wer_is_not_trained(home):
    class Rivals(Work):
        """The smallest student is as good as the teacher; larger ones can only lose."""

        def _score(self, job):
            result = super()._score(job)
            if job.tokens is not None:  # the teacher brings its own
                return result
            perfect = Reading(metric="wer", value=0.01)
            return result.model_copy(update={"readings": (perfect,)})

    text = SPACE.replace("search:", "objectives: [wer, size_mb]\nsearch:")
    _, trials, *_ = run(home, Rivals(), text)
    out = [t for t in trials if t.state is TrialState.SCREENED_OUT]
    assert out
    assert all("would beat it even at the teacher's error rate" in t.reason for t in out)


def test_a_paused_study_starts_no_further_stage(home):
    work = Work()
    at_pause = []

    class Pausing(InlineExecutor):
        n_idle = 0

        def poll(self, timeout_s):
            store = Store(home.store_url)
            study = store.studies.get("fake")
            if not at_pause and sum(j.stage == "train" for j in work.jobs) == 3:
                store.commands.add(study.id, "pause")
                at_pause.append(len(work.jobs))
            done = super().poll(timeout_s)
            if at_pause and not done:
                self.n_idle += 1
                if self.n_idle == 5:
                    at_pause.append(len(work.jobs))
                    store.commands.add(study.id, "resume")
            store.close()
            return done

    _, trials, *_ = run(home, work, executor=Pausing(work), pace=EAGER)
    under_way = at_pause[1] - at_pause[0]
    assert under_way <= 3  # one being done when the pause was asked for, one waiting in each slot
    assert all(t.state is TrialState.COMPLETE for t in trials)


def test_data_that_changed_while_the_teacher_was_trained_is_refused(home):
    class Cut(Work):
        def _export(self, job):
            raise KeyboardInterrupt

    run(home, Cut())

    class Changed(Work):
        def _prepare(self, job):
            return super()._prepare(job).model_copy(update={"corpus": "corpus-2"})

    with pytest.raises(StudyFault, match="the data changed since this study began"):
        run(home, Changed())


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
