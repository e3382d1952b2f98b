"""What the host does to a study (a full disk, lost files, memory) fails no trial: it waits, makes
anew what is gone, and ends in the undisturbed front."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from coordinated import Silent
from fakes import SPACE, Work

from search.analysis.front import front_numbers
from search.analysis.trial_frame import trial_frame
from search.clock import SystemClock
from search.errors import EnvironmentFault
from search.executors.base import JobOutcome
from search.executors.inline import InlineExecutor
from search.home import Home
from search.policy import policy_of
from search.study.coordinator import Pace
from search.study.launch import launch
from search.study.options import Options
from spaces.load import parse_space
from storage.errors import ArtifactError
from storage.partial import partial_name
from storage.records import StudyState, TrialState
from storage.store import Store
from workers.errors import LostInput
from workers.jobs import Job, Train
from workers.results import TrainResult

STAGES = (
    *("prepare", "train", "export", "score", "measure", "teacher_targets"),
    *("screen", "compress"),
)
EARLY = ("prepare", "teacher_targets", "compress")  # too few of them to wait for the third
FAULTS = {
    "disk full": OSError(errno.ENOSPC, "No space left on device"),
    "input truncated": LostInput("the prepared corpus is damaged"),
    "input deleted": ArtifactError("artifact 0123 is missing"),
    "out of memory": MemoryError(),
}
EAGER = Pace(commands_every_s=0.0, environment_waits_s=(0.0, 0.0, 0.0))


class Troubled(Work):
    """Fails a stage with a fault of the host, so many times, once others were done."""

    def __init__(self, stage: str, fault: Exception, times: int) -> None:
        super().__init__()
        self._stage, self._fault, self._left = stage, fault, times
        self.seen: Counter[str] = Counter()

    def __call__(self, job: Job):
        self.seen[job.stage] += 1
        is_late = self.seen[job.stage] > 2 or job.stage in EARLY
        if job.stage == self._stage and is_late and self._left:
            self._left -= 1
            raise self._fault
        return super().__call__(job)


@pytest.fixture
def space(tmp_path: Path) -> str:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return str(path)


def _front(home: Home) -> list[tuple[int, float, float]]:
    store = Store(home.store_url)
    study = store.studies.get("fake")
    trials = store.trials.of(study.id)
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    space = parse_space(SPACE, "fake.yaml")
    frame = trial_frame(trials, study, space)
    numbers = front_numbers(frame, space.objectives, policy_of(True))
    store.close()
    return [(n, trials[n].metrics["wer"], trials[n].metrics["size_mb"]) for n in numbers]


def _run(space: str, home: Home, work: Work, pace: Pace = EAGER) -> StudyState:
    options = Options(deterministic=True, trials=8)
    return launch(space, home, options, Silent(), InlineExecutor(work), pace)[1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, float, float]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "space.yaml").write_text(SPACE)
    home = Home.at(folder / "home")
    assert _run(str(folder / "space.yaml"), home, Work()) is StudyState.FINISHED
    return _front(home)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_fault_of_the_host_in_any_stage_fails_no_trial(
    stage: str, fault: str, space: str, tmp_path: Path, undisturbed: list[tuple[int, float, float]]
) -> None:
    home, work = Home.at(tmp_path / "home"), Troubled(stage, FAULTS[fault], times=3)
    assert _run(space, home, work) is StudyState.FINISHED
    assert _front(home) == undisturbed


@pytest.mark.parametrize("stage", STAGES)
def test_where_it_lasts_the_study_ends_in_a_sentence_and_the_same_command_goes_on(
    stage: str, space: str, tmp_path: Path, undisturbed: list[tuple[int, float, float]]
) -> None:
    home, work = Home.at(tmp_path / "home"), Troubled(stage, FAULTS["disk full"], times=4)
    with pytest.raises(EnvironmentFault, match=r"No space left on device; no trial has failed"):
        _run(space, home, work)
    store = Store(home.store_url)
    study = store.studies.get("fake")
    assert study.state is StudyState.STOPPED
    assert not [t for t in store.trials.of(study.id) if t.state is TrialState.FAILED]
    store.close()
    assert _run(space, home, work) is StudyState.FINISHED
    assert _front(home) == undisturbed


class Ended(Work):
    """The first training ends its process, which leaves what it was making."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._left = folder / "cache" / "teachers"

    def _train(self, job: Train) -> TrainResult:
        if not self._left.exists():
            process = subprocess.Popen([sys.executable, "-c", ""])
            process.wait()
            name = Path(partial_name("frames")).name.replace(f"-{os.getpid()}.", f"-{process.pid}.")
            (self._left / name).mkdir(parents=True)
            raise MemoryError
        return super()._train(job)


def test_what_a_stage_left_half_made_is_gone_when_the_study_is_taken_up(
    space: str, tmp_path: Path
) -> None:
    home = Home.at(tmp_path / "home")
    assert _run(space, home, Ended(home.folder)) is StudyState.FINISHED
    assert (home.folder / "cache" / "teachers").exists()
    assert not list(home.folder.rglob("*.partial"))


class Asked(SystemClock):
    """While the study waits for its host, another shell asks it to stop."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def sleep(self, seconds: float) -> None:
        store = Store(self._home.store_url)
        study = store.studies.get("fake")
        assert study.state is StudyState.RUNNING
        store.commands.add(study.id, "stop")
        store.close()


def test_a_study_that_waits_for_its_host_can_be_stopped(space: str, tmp_path: Path) -> None:
    home, work = Home.at(tmp_path / "home"), Troubled("train", FAULTS["disk full"], times=1)
    executor = InlineExecutor(work)
    _, state = launch(space, home, Options(), Silent(), executor, EAGER, Asked(home))
    assert state is StudyState.STOPPED


class Killing(InlineExecutor):
    """Every training of a trial is ended from outside, as by a kernel without memory."""

    def poll(self, timeout_s: float) -> list[JobOutcome]:
        if self._waiting and self._waiting[0][1].stage == "compress":
            ticket, _ = self._waiting.popleft()
            error = "its process was ended by SIGKILL (out of memory?)"
            return [JobOutcome(ticket, 0.0, error=error, is_environment_fault=True)]
        return super().poll(timeout_s)


def test_a_stage_that_is_killed_again_and_again_ends_its_trial_and_not_the_study(
    space: str, tmp_path: Path
) -> None:
    home, pace = Home.at(tmp_path / "home"), Pace(environment_waits_s=(0.0,) * 1000)
    executor = Killing(Work())
    _, state = launch(space, home, Options(trials=8), Silent(), executor, pace)
    assert state is StudyState.FINISHED
    store = Store(home.store_url)
    trials = store.trials.of(store.studies.get("fake").id)
    assert all(t.state in (TrialState.COMPLETE, TrialState.FAILED) for t in trials)
    failed = [t for t in trials if t.state is TrialState.FAILED]
    assert failed
    assert all("compress: its process was ended by SIGKILL" in (t.reason or "") for t in failed)
    store.close()
