"""An executor brings back every job that ends, however it ends, and never one twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import child_entries
import psutil
import pytest
from filelock import FileLock, Timeout
from ray_nodes import ray_cluster

from search.clock import SystemClock, VirtualClock
from search.executors.base import Executor, JobOutcome
from search.executors.inline import InlineExecutor
from search.executors.local import LocalExecutor
from search.executors.ray.executor import RayExecutor
from search.progress import StageProgress
from search.replay.executor import ReplayExecutor
from search.replay.lookup import Answer, Lookup
from search.replay.table import Recorded
from spaces.recipe import Quantize
from spaces.space import Data, Tokens
from storage.artifacts import ArtifactStore
from workers.jobs import Export, Prepare, key_of
from workers.results import ExportResult
from workers.stages.run import run_stage
from workers.workspace import Workspace

pytestmark = pytest.mark.timeout(120)
NEVER_S = 600.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def workspace(home: Path) -> Workspace:
    """An empty one. All tests have the same, so that one connection to a cluster serves them."""
    for left in home.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
    return _workspace(home)


def _workspace(home: Path) -> Workspace:
    return Workspace(
        artifacts=str(home / "artifacts"),
        cache=home / "cache",
        work=home / "work",
        locks=home / "locks",
    )


@pytest.fixture(scope="module")
def nodes() -> Iterator[str]:
    """The address of a cluster of two nodes, one of which has a device."""
    device = {"num_cpus": 0, "resources": {"target_pi5": 1}}
    with ray_cluster({"num_cpus": 2}, device) as address:
        yield address


@pytest.fixture(scope="module")
def ray_stand_in(nodes: str, home: Path) -> Iterator[Executor]:
    executor = RayExecutor(nodes, _workspace(home), NEVER_S, "child_entries:perform")
    yield executor
    executor.close()


@pytest.fixture(scope="module")
def ray_real(nodes: str, home: Path) -> Iterator[Executor]:
    executor = RayExecutor(nodes, _workspace(home), NEVER_S)
    yield executor
    executor.close()


class Recordings:
    """A table in which every job of `child_entries.work` is recorded."""

    def answer(self, job: Export) -> Answer:
        recorded = Recorded(result=child_entries.work(job), duration_s=1.0)
        return Answer(recorded, is_exact=True)


def _stand_in(kind: str, workspace: Workspace, request: pytest.FixtureRequest) -> Executor:
    """Runs `child_entries.work` in place of the stages of a trial."""
    if kind == "inline":
        return InlineExecutor(child_entries.work)
    if kind == "replay":
        return ReplayExecutor(cast(Lookup, Recordings()), VirtualClock())
    if kind == "ray":
        return cast(Executor, request.getfixturevalue("ray_stand_in"))
    return LocalExecutor(workspace, NEVER_S, child_entries.perform)


def _real(kind: str, workspace: Workspace, request: pytest.FixtureRequest) -> Executor:
    """Runs the stages of a trial."""
    if kind == "inline":
        return InlineExecutor(lambda job: run_stage(job, workspace))
    if kind == "ray":
        return cast(Executor, request.getfixturevalue("ray_real"))
    return LocalExecutor(workspace, NEVER_S)


def _ending(executor: Executor) -> Iterator[Executor]:
    """The connection to a cluster serves the next test too."""
    yield executor
    if not isinstance(executor, RayExecutor):
        executor.close()


@pytest.fixture(params=["inline", "local", "replay", "ray"])
def executor(request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[Executor]:
    yield from _ending(_stand_in(request.param, workspace, request))


@pytest.fixture(params=["inline", "local", "ray"])
def real(request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[Executor]:
    yield from _ending(_real(request.param, workspace, request))


@pytest.fixture(params=["local", "ray"])
def children(request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[Executor]:
    """Executors whose jobs are processes of their own."""
    yield from _ending(_stand_in(request.param, workspace, request))


@pytest.fixture
def local(workspace: Workspace) -> Iterator[LocalExecutor]:
    executor = LocalExecutor(workspace, NEVER_S, child_entries.perform)
    yield executor
    executor.close()


def _job(what: str) -> Export:
    return Export(checkpoint=what, quantize=Quantize(), corpus="none")


def _folder(workspace: Workspace, job: Export | Prepare) -> Path:
    return workspace.work / job.stage / key_of(job)[:32]


def _ended(executor: Executor, count: int = 1) -> dict[int, JobOutcome]:
    """So many ended jobs by ticket, and a look that nothing comes after them."""
    done: list[JobOutcome] = []
    while len(done) < count:
        done += executor.poll(0.1)
    assert executor.poll(0.0) == []
    assert len({d.ticket for d in done}) == len(done) == count
    return {d.ticket: d for d in done}


def _model(done: JobOutcome) -> str | None:
    """What a job of `child_entries.work` exported."""
    return done.result.model if isinstance(done.result, ExportResult) else None


@contextmanager
def _blocked(workspace: Workspace, job: Export) -> Iterator[Path]:
    """Holds the lock of a job's folder, so that its stage waits; gives the child's own lock."""
    folder = _folder(workspace, job)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        yield folder / "alive"


def _is_held(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _wait_for(what: Callable[[], object]) -> None:
    while not what():
        time.sleep(0.01)


# every executor


def test_a_job_brings_its_result_under_its_ticket(executor: Executor) -> None:
    executor.submit(7, _job("succeed abc"))
    done = _ended(executor)[7]
    assert done.error is None
    assert done.log is None
    assert not done.is_user_fault
    assert isinstance(done.result, ExportResult)
    assert done.result.digests == ("abc", "float", "tokens")
    assert done.result.cpu_s == 0.5
    assert done.duration_s >= 0


def test_jobs_submitted_together_all_end_once(executor: Executor) -> None:
    for ticket in range(5):
        executor.submit(ticket, _job(f"succeed {ticket}"))
    done = _ended(executor, 5)
    assert {t: _model(d) for t, d in done.items()} == {t: str(t) for t in range(5)}


def test_equal_jobs_under_two_tickets_both_end(executor: Executor) -> None:
    executor.submit(1, _job("succeed same"))
    executor.submit(2, _job("succeed same"))
    done = _ended(executor, 2)
    assert [_model(d) for d in done.values()] == ["same", "same"]


def test_without_jobs_nothing_ends(executor: Executor) -> None:
    assert executor.poll(0.0) == []
    assert executor.progress(1) is None
    executor.cancel(1)
    assert executor.poll(0.0) == []


def test_a_cancelled_job_brings_nothing(executor: Executor) -> None:
    executor.submit(1, _job("succeed a"))
    executor.submit(2, _job("succeed b"))
    executor.cancel(1)
    assert set(_ended(executor)) == {2}


def test_a_closed_executor_has_no_jobs_left(executor: Executor) -> None:
    executor.submit(1, _job("succeed a"))
    executor.submit(2, _job("succeed b"))
    executor.close()
    assert executor.poll(0.0) == []


def test_after_an_end_other_jobs_may_follow(executor: Executor) -> None:
    for ticket in range(3):
        executor.submit(ticket, _job("succeed same"))
        assert set(_ended(executor)) == {ticket}


# every executor, with the stages of a trial


def test_a_stage_done_before_is_found_done(
    real: Executor, workspace: Workspace, tmp_path: Path
) -> None:
    job = _job("0" * 64)
    (tmp_path / "model.onnx").write_bytes(b"a model")
    file = ArtifactStore(workspace.artifacts).put(tmp_path / "model.onnx")
    before = ExportResult(model=file, float32=file, tokens=file, parity=0.001, cpu_s=9.0)
    _folder(workspace, job).mkdir(parents=True)
    (_folder(workspace, job) / "result.json").write_text(before.model_dump_json())
    real.submit(1, job)
    done = _ended(real)[1]
    assert done.error is None
    assert done.result == before.model_copy(update={"reused": True, "cpu_s": 0.0})


def test_a_fault_of_the_user_is_told_in_its_own_words(real: Executor, workspace: Workspace) -> None:
    none = str(workspace.work / "none.jsonl")
    real.submit(1, Prepare(data=Data(train=none, dev=none), tokens=Tokens(), subsampling_factor=4))
    done = _ended(real)[1]
    assert done.is_user_fault
    assert done.result is None
    assert done.error is not None
    assert done.error.startswith(f"{workspace.work}/none.jsonl: no such file or folder")


def test_an_error_of_ours_is_told_with_its_type(real: Executor, workspace: Workspace) -> None:
    real.submit(1, _job("0" * 64))
    done = _ended(real)[1]
    assert not done.is_user_fault
    assert done.result is None
    assert done.is_environment_fault
    assert done.error == "LostInput: the prepared corpus (none) in the cache is gone or damaged"


@pytest.mark.parametrize("real", ["local", "ray"], indirect=True)
def test_an_error_of_ours_comes_with_its_traceback(real: Executor) -> None:
    real.submit(1, _job("0" * 64))
    log = _ended(real)[1].log
    assert log is not None
    assert "Traceback (most recent call last)" in log
    assert log.splitlines()[-1].startswith("workers.errors.LostInput: ")


# child processes


def test_every_job_has_a_process_of_its_own(children: Executor) -> None:
    for ticket in range(2):
        children.submit(ticket, _job(f"succeed {ticket}"))
    pids = {d.result.value("pid") for d in _ended(children, 2).values() if d.result}
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("exit", "its process ended with 3 and no result"),
        ("kill", "its process was ended by SIGKILL (out of memory?)"),
        ("raise boom", "its process ended with 1 and no result"),
        ("no json", "its process ended with 0 and no result"),
    ],
)
def test_a_process_that_ends_without_a_result_is_an_error(
    children: Executor, end: str, error: str
) -> None:
    children.submit(1, _job(end))
    children.submit(2, _job("succeed a"))
    done = _ended(children, 2)
    assert (done[1].error, done[1].result, done[1].is_user_fault) == (error, None, False)
    assert done[2].result is not None  # one job's end is no other's


def test_when_the_server_of_the_processes_is_killed_no_job_is_to_blame(
    local: LocalExecutor,
) -> None:
    local.submit(1, _job("hang"))
    _wait_for(lambda: local.progress(1))
    mine = psutil.Process().children()
    (server,) = [p for p in mine if "multiprocessing.forkserver" in " ".join(p.cmdline())]
    hanging = server.children()
    server.kill()
    done = _ended(local)[1]
    for process in hanging:
        process.kill()
    assert done.error == "the process that it was forked from was ended"
    assert done.is_environment_fault
    _wait_for(lambda: server.status() == psutil.STATUS_ZOMBIE)
    local.submit(2, _job("succeed a"))
    assert _ended(local)[2].result is not None


def test_a_process_that_fails_after_its_result_has_a_result(children: Executor) -> None:
    children.submit(1, _job("late exit"))
    done = _ended(children)[1]
    assert done.error is None
    assert _model(done) == "late"


def test_a_job_that_hangs_is_ended_when_its_time_is_up(workspace: Workspace) -> None:
    executor, job = LocalExecutor(workspace, 1.0, child_entries.perform), _job("hang")
    _folder(workspace, job).mkdir(parents=True)
    (_folder(workspace, job) / "log.txt").write_text("began\nhangs\n")
    executor.submit(1, job)
    done = _ended(executor)[1]
    assert done.error == "made no progress for 1 s and was ended"
    assert done.log == "began\nhangs"
    assert done.result is None
    assert not done.is_user_fault
    executor.close()


class Sleeper(SystemClock):
    """A machine that was asleep, or a coordinator stopped by Ctrl-Z, between any two looks."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def now(self) -> float:
        return super().now() + self.slept_s

    def monotonic(self) -> float:
        self.slept_s += 3600.0
        return super().monotonic() + self.slept_s


def test_a_job_is_not_ended_for_time_in_which_nobody_watched(workspace: Workspace) -> None:
    executor = LocalExecutor(workspace, 60.0, child_entries.perform, clock=Sleeper())
    executor.submit(1, _job("hang"))
    _wait_for(lambda: executor.progress(1))
    assert [executor.poll(0.05) for _ in range(5)] == [[]] * 5
    executor.close()


def test_a_job_that_failed_brings_the_last_lines_of_its_log(
    children: Executor, workspace: Workspace
) -> None:
    job = _job("exit")
    _folder(workspace, job).mkdir(parents=True)
    said = [f"line {number}" for number in range(100)]
    (_folder(workspace, job) / "log.txt").write_bytes("\n".join(said).encode() + b"\n\xff\xfe\n")
    children.submit(1, job)
    log = _ended(children)[1].log
    assert log is not None
    assert log.splitlines() == [*said[-29:], "\ufffd\ufffd"]


def test_a_running_job_says_how_far_it_is(children: Executor) -> None:
    children.submit(1, _job("hang"))
    said = StageProgress(what="x", done=1, of=4)
    _wait_for(lambda: children.poll(0.01) or children.progress(1) == said)
    assert children.progress(2) is None
    children.cancel(1)
    assert children.progress(1) is None


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_job_ended_from_outside_leaves_no_process(workspace: Workspace, end: str) -> None:
    executor = LocalExecutor(workspace, NEVER_S, child_entries.hold_and_run)
    job = _job("0" * 64)
    with _blocked(workspace, job) as alive:
        executor.submit(1, job)
        _wait_for(lambda: _is_held(alive))
        executor.cancel(1) if end == "cancel" else executor.close()
        assert not _is_held(alive)
        assert executor.poll(0.0) == []
    executor.close()


def test_an_outcome_of_an_earlier_job_is_not_taken_for_this_ones(
    children: Executor, workspace: Workspace
) -> None:
    children.submit(1, _job("exit"))
    _ended(children)
    children.submit(2, _job("succeed a"))
    _ended(children)
    left = [p.name for p in workspace.work.rglob("outcome*")]
    assert left == []


def test_a_child_ends_when_its_coordinator_is_killed(workspace: Workspace) -> None:
    job = _job("0" * 64)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from child_entries import hold_and_run\n"
        "from search.executors.local import LocalExecutor\n"
        "from workers.jobs import Export\n"
        "from workers.workspace import Workspace\n"
        "executor = LocalExecutor(Workspace.model_validate_json(sys.argv[2]), 600, hold_and_run)\n"
        "executor.submit(1, Export.model_validate_json(sys.argv[3]))\n"
        "while True: executor.poll(1.0)\n"
    )
    arguments = [str(Path(__file__).parent), workspace.model_dump_json(), job.model_dump_json()]
    with _blocked(workspace, job) as alive:
        coordinator = subprocess.Popen([sys.executable, "-c", code, *arguments])
        _wait_for(lambda: _is_held(alive) or coordinator.poll() is not None)
        assert coordinator.poll() is None
        coordinator.kill()
        coordinator.wait()
        FileLock(alive).acquire(timeout=60).lock.release()
