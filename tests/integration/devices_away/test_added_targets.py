"""Finished students are measured on targets that their study did not have; nothing else of it
changes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from away import AWAY, N_TRIALS, Home_, Workshop
from fakes import SPACE, Work

from search.added_targets import space_of
from search.analysis.elsewhere import lines_on, not_measured_on
from search.analysis.front import front_numbers
from search.analysis.pick import fits, parse_where
from search.analysis.trial_frame import trial_frame
from search.errors import StudyFault, UsageFault
from storage.records import StudyState, Trial, TrialState
from workers.errors import WorkError
from workers.jobs import Convert, Job, Measure
from workers.results import AnyResult, ConvertResult, MeasureResult, Reading

# Fewer than all trials are on the front, and a budget makes some infeasible.
SEARCH = f"trials: {N_TRIALS}, initial_trials: 0"  # or all formats would be one
TEXT = SPACE.replace("trials: 14", SEARCH) + 'budgets: {wer: "<= 40%"}\n'
NEW = "targets: {new: {threads: 2}}"
P95 = "latency_p95_ms@new"


def _front(there: Home_) -> list[int]:
    frame = trial_frame(there.trials, there.study, space_of(there.study))
    return front_numbers(frame, space_of(there.study).objectives)


def _measured_on(trials: Sequence[Trial], target: str = "new") -> list[int]:
    return [t.number for t in trials if f"latency_p95_ms@{target}" in t.metrics]


def _but_for(trials: Sequence[Trial], *targets: str) -> list[Trial]:
    """Trials without what they are on these targets."""
    return [
        t.evolve(
            metrics={k: v for k, v in t.metrics.items() if k.partition("@")[2] not in targets},
            compute_s=0.0,
        )
        for t in trials
    ]


def test_the_front_is_measured_there_and_no_trial_changes_what_it_came_to(there: Home_) -> None:
    there.launch(Work(), TEXT)
    before, front = there.trials, _front(there)
    assert 0 < len(front) < N_TRIALS
    work = Work()
    assert there.measure_on(work, NEW) is StudyState.FINISHED
    assert {job.stage for job in work.jobs} == {"prepare", "measure"}
    assert {(j.target_name, j.target.threads) for j in work.jobs if isinstance(j, Measure)} == {
        ("new", 2)
    }
    assert _measured_on(there.trials) == sorted(front)
    assert _but_for(there.trials, "new") == _but_for(before)
    assert there.study.state is StudyState.FINISHED
    for number in front:
        metrics = there.trials[number].metrics
        assert metrics["wer@new"] == metrics["wer"]
        assert there.samples(number, "new", "latency_p95_ms") == [metrics[P95]]
    assert there.study.teacher_metrics[P95] > 0
    assert there.messages.said[-1] == f"measured: {len(front)} of {len(front)} on new"
    assert _front(there) == front


def test_who_was_not_measured_there_meets_no_limit_there(there: Home_) -> None:
    there.launch(Work(), TEXT)
    there.measure_on(Work(), NEW, 0, 1)
    study = there.study
    frame = trial_frame(there.trials, study, space_of(study))
    inside = fits(frame, parse_where(f"{P95}<=1e9"))
    assert frame.loc[inside, "number"].tolist() == [0, 1]
    assert not_measured_on(frame, "new") == list(range(2, N_TRIALS))
    assert lines_on(frame, ["new", "cpu"]) == [
        f"{N_TRIALS - 2} of {N_TRIALS} measured trials were not measured on new: they meet no "
        "limit there"
    ]


def test_another_runtime_converts_and_scores_what_was_exported(there: Home_) -> None:
    there.launch(Work(), TEXT)
    work = Work()
    there.measure_on(work, "{name: ov, backend: openvino, runs: 20}", everything=True)
    assert {job.stage for job in work.jobs} == {"prepare", "convert", "score", "measure"}
    names = {run for _, run in there.stages() if "@" in run}
    assert {"convert@openvino", "score@ov", "measure@ov"} <= names
    said = [m for m in there.messages.said if "not on ov" in m]
    refused = {int(re.findall(r"trial (\d+)", m)[0]) for m in said}
    is_dynamic = [t.values["quantize.scheme"] == "int8_dynamic" for t in there.trials]
    assert refused == {n for n, dynamic in enumerate(is_dynamic) if dynamic}
    assert set(_measured_on(there.trials, "ov")) == set(range(N_TRIALS)) - refused
    assert 0 < len(refused) < N_TRIALS


class _Dies(Work):
    """Its process is ended before the third measurement."""

    def _measure(self, job: Measure) -> MeasureResult:
        if sum(isinstance(j, Measure) for j in self.jobs) > 2:
            raise KeyboardInterrupt
        return super()._measure(job)


def test_the_same_command_goes_on_where_it_was_interrupted(there: Home_) -> None:
    there.launch(Work(), TEXT)
    assert there.measure_on(_Dies(), NEW, everything=True) is StudyState.STOPPED
    done = sum(name == "measure@new" for _, name in there.stages())
    assert 0 < done < N_TRIALS + 1
    assert there.study.state is StudyState.FINISHED
    rest = Work()
    assert there.measure_on(rest, NEW, everything=True) is StudyState.FINISHED
    assert sum(isinstance(job, Measure) for job in rest.jobs) == N_TRIALS + 1 - done
    assert _measured_on(there.trials) == list(range(N_TRIALS))
    last = Work()
    there.measure_on(last, NEW, everything=True)
    assert {job.stage for job in last.jobs} == {"prepare"}


def test_the_search_goes_on_with_its_own_space_and_keeps_the_figures(there: Home_) -> None:
    there.launch(Work(), TEXT)
    there.measure_on(Work(), NEW, everything=True)
    before, teacher = there.trials, there.study.teacher_metrics
    more = Work()
    assert there.launch(more, TEXT, trials=N_TRIALS + 2) is StudyState.FINISHED
    assert there.trials[:N_TRIALS] == before
    assert _measured_on(there.trials) == list(range(N_TRIALS))
    assert there.study.teacher_metrics == teacher
    assert {job.target_name for job in more.jobs if isinstance(job, Measure)} == {"cpu"}
    there.measure(Work(), 0)  # anew where the space says, and nothing is lost elsewhere
    assert there.trials[0].metrics == before[0].metrics
    assert "new" in space_of(there.study).targets


def test_what_was_unsteady_there_is_taken_again_and_only_that(there: Home_) -> None:
    class Shaken(Work):
        def __init__(self, shaken: bool) -> None:
            super().__init__()
            self.shaken = shaken

        def _measure(self, job: Measure) -> MeasureResult:
            done = super()._measure(job)
            first = sum(isinstance(j, Measure) for j in self.jobs) == 2  # after the teacher
            flag = Reading(metric="unsteady", value=float(self.shaken and first))
            return MeasureResult(readings=(*done.readings, flag))

    there.launch(Work(), TEXT)
    there.measure_on(Shaken(True), NEW, everything=True)
    shaken = [t.number for t in there.trials if t.metrics["unsteady@new"]]
    assert len(shaken) == 1
    again = Shaken(False)
    there.measure_on(again, NEW, unsteady=True)
    assert sum(isinstance(job, Measure) for job in again.jobs) == 1
    assert not any(t.metrics["unsteady@new"] for t in there.trials)
    with pytest.raises(UsageFault, match="no chosen trial was unsteady there"):
        there.measure_on(Work(), NEW, unsteady=True)


def test_a_device_that_is_away_is_given_up_and_changes_nothing(there: Home_) -> None:
    there.launch(Work(), TEXT.replace("seed: 3}", "seed: 3, device_patience_s: 0}"))
    before = there.trials
    board = '{name: pi5, agent: "https://pi5.example:8765", token_env: SEARCH_PI5_TOKEN}'
    assert there.measure_on(Workshop(away=1e9), board) is StudyState.FINISHED
    assert there.trials == before
    assert any(
        m.endswith(f"not measured on pi5: {AWAY}; the same command does it later")
        for m in there.messages.said
    )
    assert there.messages.said[-1].startswith("measured: 0 of ")
    there.measure_on(Workshop(), board)
    assert _measured_on(there.trials, "pi5") == sorted(_front(there))


def test_a_stage_that_fails_there_costs_that_target_alone(there: Home_) -> None:
    class NoOpenvino(Work):
        def _convert(self, job: Convert) -> ConvertResult:
            raise WorkError("no such operator")

    there.launch(Work(), TEXT)
    before = there.trials
    both = "targets: {new: {threads: 2}, ov: {backend: openvino}}"
    assert there.measure_on(NoOpenvino(), both, everything=True) is StudyState.FINISHED
    assert _measured_on(there.trials) == list(range(N_TRIALS))
    assert _measured_on(there.trials, "ov") == []
    assert _but_for(there.trials, "new") == _but_for(before)
    assert any("not measured on ov: convert@openvino" in m for m in there.messages.said)


def test_gates_and_budgets_of_the_study_do_not_look_there(there: Home_) -> None:
    class Halved(Work):
        """Half the students write nothing there, which a gate of the study would refuse."""

        def _score(self, job: Job) -> AnyResult:
            done = super()._score(job)
            empty = Reading(metric="empty_share", value=float(job.runtime == "ov"))
            return done.model_copy(update={"readings": (*done.readings, empty)})

    text = TEXT + "gate: {empty_output: true}\n"
    there.launch(Halved(), text)
    before = {t.number: (t.state, t.constraints) for t in there.trials}
    there.measure_on(Halved(), "{name: ov, backend: openvino}", everything=True)
    there.measure(Halved(), *[n for n, (s, _) in before.items() if s.is_measured])
    assert {t.number: (t.state, t.constraints) for t in there.trials} == before
    assert any(t.metrics.get("empty_share@ov") == 1.0 for t in there.trials)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ("{name: cpu, threads: 2}", "targets.cpu: .* other settings \\(threads 1, not 2\\)"),
        ("{name: cpu}", "cpu: the space of fake has it, so its trials are measured there"),
        ("{name: new, threads: 3}", "targets.new: .* other settings \\(threads 2, not 3\\)"),
    ],
)
def test_a_name_that_is_taken_is_refused(there: Home_, targets: str, said: str) -> None:
    there.launch(Work(), TEXT)
    there.measure_on(Work(), NEW, 0)
    before = there.study, there.trials
    with pytest.raises(UsageFault, match=said):
        there.measure_on(Work(), targets)
    assert (there.study, there.trials) == before


def test_settings_may_be_mended_while_nothing_was_measured_by_them(there: Home_) -> None:
    class Broken(Work):
        def _measure(self, job: Measure) -> MeasureResult:
            raise WorkError("no")

    there.launch(Work(), TEXT)
    there.measure_on(Broken(), NEW)
    there.measure_on(Work(), "{name: new, threads: 4}")
    assert space_of(there.study).targets["new"].threads == 4
    assert _measured_on(there.trials)


def test_only_measured_trials_are_taken(there: Home_) -> None:
    class Fails(Work):
        def _train(self, job: Job) -> AnyResult:
            if sum(j.stage == "train" for j in self.jobs) == 3:
                raise WorkError("no")
            return super()._train(job)

    there.launch(Fails(), TEXT.replace("seed: 3}", "seed: 3, retries: 0}"))
    (failed,) = [t.number for t in there.trials if t.state is TrialState.FAILED]
    with pytest.raises(UsageFault, match=f"trial {failed}: not measured yet"):
        there.measure_on(Work(), NEW, failed)
    there.measure_on(Work(), NEW, everything=True)
    assert failed not in _measured_on(there.trials)


def test_without_its_files_nothing_is_trained_anew(there: Home_, monkeypatch) -> None:
    there.launch(Work(), TEXT)
    lost = "search.executors.inline.InlineExecutor.has_artifact"
    monkeypatch.setattr(lost, lambda _self, _digest: False)
    work = Work()
    with pytest.raises(StudyFault, match=r"`search retry \d+ --study fake` makes them anew"):
        there.measure_on(work, NEW)
    assert {job.stage for job in work.jobs} == {"prepare"}
    assert there.study.state is StudyState.FINISHED


def test_data_that_changed_are_refused(there: Home_) -> None:
    class Other(Work):
        def _prepare(self, job: Job) -> AnyResult:
            return super()._prepare(job).model_copy(update={"corpus": "corpus-2"})

    there.launch(Work(), TEXT)
    with pytest.raises(StudyFault, match="the data changed"):
        there.measure_on(Other(), NEW)
