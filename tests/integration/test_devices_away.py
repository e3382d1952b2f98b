"""Devices that are away delay what is measured on them, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import SPACE, Work, space

from search.errors import UsageFault
from search.executors.inline import InlineExecutor
from search.home import Home
from search.study.coordinator import Pace
from search.study.device_backoff import DeviceBackoff
from search.study.launch import Remeasure, launch, measure
from search.study.options import Options
from spaces.families import SeparableConv
from spaces.recipe import Quantize
from spaces.space import Target
from storage.records import Study, StudyState, Trial, TrialState
from storage.store import Store
from workers.data.corpus import Corpus
from workers.errors import DeviceRefused, DeviceUnreachable
from workers.jobs import Job, Measure, Screen
from workers.results import AnyResult, MeasureResult, Reading, ScreenResult
from workers.stages.run import run_stage
from workers.workspace import Workspace

N_TRIALS = 6
TARGETS = """
targets:
  cpu: {}
  pi5: {agent: "https://pi5.example:8765", token_env: PI5_TOKEN}
objectives: [wer, latency_p95_ms, "latency_p95_ms@pi5"]
"""
TEXT = SPACE.replace("trials: 14", f"trials: {N_TRIALS}") + TARGETS
IMPATIENT = TEXT.replace("seed: 3}", "seed: 3, device_patience_s: 0}")
AWAY = "https://pi5.example:8765: no answer (connection refused)"
REFUSED = "https://pi5.example:8765: refuses this token"
PACE = Pace(first_wait_s=0.002, longest_wait_s=0.02)


class Home_:
    """A home, and what its study came to."""

    def __init__(self, folder: Path) -> None:
        self.home = Home.at(folder / "home")
        self.path = folder / "fake.yaml"

    def launch(self, work: Work, text: str = TEXT, **options: Any) -> StudyState:
        self.path.write_text(text)
        self.messages = View()
        executor = InlineExecutor(work)
        wanted = Options(**options)
        _, state = launch(str(self.path), self.home, wanted, self.messages, executor, PACE)
        return state

    def measure(self, work: Work, *trials: int, unsteady: bool = False) -> StudyState:
        self.messages = View()
        what = Remeasure(trials, unsteady)
        executor = InlineExecutor(work)
        _, state = measure("fake", self.home, what, self.messages, executor, PACE)
        return state

    @property
    def study(self) -> Study:
        return self._read(lambda store: store.studies.get("fake"))

    @property
    def trials(self) -> list[Trial]:
        return self._read(lambda store: store.trials.of(store.studies.get("fake").id))

    def samples(self, subject: object, target: str, metric: str) -> list[float]:
        found = self._read(lambda s: s.measurements.of(s.studies.get("fake").id, str(subject)))
        return [m.value for m in found if (m.target, m.metric) == (target, metric)]

    def stages(self) -> Counter[tuple[int | None, str]]:
        runs = self._read(lambda store: store.stage_runs.of(store.studies.get("fake").id))
        return Counter((r.trial_number, r.stage) for r in runs)

    def _read(self, what: Callable[[Store], Any]) -> Any:
        store = Store(self.home.store_url)
        try:
            return what(store)
        finally:
            store.close()


class View:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.of_devices: list[str] = []
        self.waiting: set[str] = set()
        self.away: set[str] = set()

    def event(self, event: Any) -> None:
        self.said.append(event.message)
        if event.kind == "device":
            self.of_devices.append(event.message)

    def tick(self, snapshot: Any) -> None:
        self.waiting |= set(snapshot.waiting)
        self.away |= set(snapshot.away_s)


class Workshop(Work):
    """The device refuses so many attempts, of which a number is let through first."""

    def __init__(
        self, away: float = 0, first: int = 0, error: type[Exception] = DeviceUnreachable
    ) -> None:
        super().__init__()
        self.n_away, self.n_first, self.error = away, first, error
        self.tried: list[Job] = []
        self.stages: list[str] = []

    def __call__(self, job: Job) -> AnyResult:
        self.stages.append(job.stage)
        return super().__call__(job)

    def _measure(self, job: Measure) -> MeasureResult:
        if job.target_name == "pi5":
            self.tried.append(job)
            if len(self.tried) > self.n_first and self.n_away > 0:
                self.n_away -= 1
                raise self.error(AWAY if self.error is DeviceUnreachable else REFUSED)
        return super()._measure(job)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home_:
    monkeypatch.setenv("PI5_TOKEN", "secret")
    return Home_(tmp_path)


def both_measured(trials: list[Trial]) -> bool:
    names = ("latency_p95_ms", "latency_p95_ms@cpu", "latency_p95_ms@pi5")
    return all(
        t.objective_values and len(t.objective_values) == 3 and set(names) <= set(t.metrics)
        for t in trials
    )


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


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("secret", "http://127.0.0.1:1: cannot be reached"),
        (None, "the variable PI5_TOKEN with its token is not set"),
    ],
    ids=["away", "refused"],
)
def test_screening_leaves_out_a_device_that_cannot_be_asked(
    workspace: Workspace,
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    said: str,
) -> None:
    monkeypatch.delenv("PI5_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("PI5_TOKEN", token)
    pi5 = Target(agent="http://127.0.0.1:1", token_env="PI5_TOKEN")
    job = Screen(
        student=SeparableConv(channels=8, blocks=1, kernel=3),
        quantize=Quantize(),
        corpus=corpus.folder.name,
        targets={"pi5": pi5},
        host=str(token),
    )
    done = run_stage(job, workspace)
    assert isinstance(done, ScreenResult)
    assert {r.metric for r in done.readings} == {"size_mb", "macs", "params"}
    assert said in done.not_screened_on["pi5"]


# measured again


class Shaky(Workshop):
    """Some trials cannot be measured in quiet on this machine."""

    def __init__(self, factor: float = 1.0, unsteady: bool = True) -> None:
        super().__init__()
        self.factor, self.unsteady = factor, unsteady

    def _measure(self, job: Measure) -> MeasureResult:
        done = super()._measure(job)
        readings = [r.model_copy(update={"value": r.value * self.factor}) for r in done.readings]
        shaken = self.unsteady and int(job.model.files["model.onnx"][:2], 16) % 2 == 0
        readings.append(Reading(metric="unsteady", value=float(shaken)))
        reasons = ("drift (+8% from the first third to the last)",) if shaken else ()
        return MeasureResult(readings=tuple(readings), unsteady=reasons)


def test_what_was_unsteady_is_measured_again_and_replaced(there: Home_) -> None:
    there.launch(Shaky())
    before = there.trials
    shaken = {t.number for t in before if t.metrics["unsteady"]}
    assert 0 < len(shaken) < N_TRIALS
    assert any("is unsteady: drift" in m for m in there.messages.said)

    again = Shaky(factor=10.0, unsteady=False)
    assert there.measure(again, unsteady=True) is StudyState.FINISHED
    assert set(again.stages) == {"prepare", "teacher_targets", "measure"}
    assert sum(isinstance(job, Measure) for job in again.jobs) == 2 * len(shaken)
    for old, new in zip(before, there.trials, strict=True):
        factor = 10.0 if new.number in shaken else 1.0
        assert new.state is TrialState.COMPLETE
        for name in ("latency_p95_ms", "latency_p95_ms@pi5"):
            assert new.metrics[name] == pytest.approx(factor * old.metrics[name])
        assert new.metrics["wer"] == old.metrics["wer"]
        assert new.metrics["unsteady"] == 0
        assert there.samples(new.number, "pi5", "latency_p95_ms") == [
            pytest.approx(new.metrics["latency_p95_ms@pi5"])
        ]
    steady = [t.metrics for t in there.trials]
    assert there.measure(Workshop(), unsteady=True) is StudyState.FINISHED
    assert [t.metrics for t in there.trials] == steady


def test_a_trial_that_is_named_is_measured_again_by_a_job_of_its_own(there: Home_) -> None:
    first = Workshop()
    there.launch(first)
    again = Workshop()
    there.measure(again, 2)
    jobs = [job for job in again.jobs if isinstance(job, Measure)]
    assert [job.target_name for job in jobs] == ["cpu", "pi5"]
    assert not {job.model_dump_json() for job in jobs} & {
        job.model_dump_json() for job in first.jobs
    }  # else an equal job's result would be found, and nothing measured


def test_measuring_again_on_a_device_that_is_away_keeps_the_old_figures(there: Home_) -> None:
    there.launch(Workshop(), IMPATIENT)
    before = there.trials
    there.measure(Workshop(away=1e9), 2)
    assert there.trials[2].metrics == before[2].metrics
    there.measure(Workshop())
    assert there.trials[2].state is TrialState.COMPLETE


@pytest.mark.parametrize("numbers", [(99,), (0, 7, 8)])
def test_only_a_measured_trial_is_measured_again(there: Home_, numbers: tuple[int, ...]) -> None:
    there.launch(Workshop())
    strangers = ", ".join(map(str, (n for n in numbers if n >= N_TRIALS)))
    with pytest.raises(UsageFault, match=f"^trial {strangers}: not measured yet, so there is"):
        there.measure(Workshop(), *numbers)


def test_without_its_token_nothing_starts(there: Home_, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PI5_TOKEN")
    work = Workshop()
    with pytest.raises(UsageFault, match=r"^targets.pi5: .* the variable PI5_TOKEN with its token"):
        there.launch(work)
    assert work.jobs == []


# when an absent device is asked again


class Clock:
    """Stands still but when somebody sleeps."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> float:
        return self.passed_s

    def monotonic(self) -> float:
        return self.passed_s

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds


def test_a_device_is_asked_again_twice_as_late_each_time_up_to_a_minute() -> None:
    clock = Clock()
    text = TEXT.replace("  pi5:", '  slow: {agent: "https://pi5.example:8765", token_env: '
                        "PI5_TOKEN, threads: 4}\n  pi5:")  # fmt: skip
    backoff = DeviceBackoff(space(text), clock)
    both = {"slow", "pi5"}
    assert backoff.unavailable_targets([]) == set()
    assert backoff.unavailable_targets(["slow"]) == both  # one device, one measurement
    assert backoff.unavailable_targets(["cpu"]) == set()
    waits = []
    for attempt in range(9):
        assert backoff.mark_unreachable("pi5", "is away") == (attempt == 0)
        assert backoff.unavailable_targets([]) == both
        begun = clock.monotonic()
        while backoff.unavailable_targets([]):
            clock.sleep(0.5)
        waits.append(clock.monotonic() - begun)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert backoff.longest_s(["slow", "cpu"]) == sum(waits)
    assert backoff.reason(["slow", "pi5"]) == "is away"
    assert backoff.are_all_away(["slow"])
    assert not backoff.are_all_away(["slow", "cpu"])
    assert backoff.mark_reachable("slow")
    assert not backoff.mark_reachable("pi5")
    assert not backoff.mark_reachable("cpu")
    assert backoff.longest_s(both) == 0
