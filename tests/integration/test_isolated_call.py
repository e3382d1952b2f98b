"""Whatever a runtime does, it does to its own process: the caller gets an answer or a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trouble

from search.executors.base import job_error
from workers.errors import KILLED, Killed, UserFault, WorkError
from workers.isolated_call import Bounds, call

N_FRAMES = 5
IDS = [[0, 1, 2, 3, 0]]
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends what lost its parent")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The troublesome backend, installed where child processes find it."""
    folder = trouble.installed(tmp_path / "plugin")
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def request_(plugin: Path, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    np.zeros((N_FRAMES, 80), np.float32).tofile(tmp_path / "features")

    def make(harm: str) -> dict[str, Any]:
        return {
            "backend": "trouble",
            "model": str(tmp_path / harm),
            "settings": {},
            "features": str(tmp_path / "features"),
            "at": [[0, N_FRAMES]],
        }

    return make


Make = Callable[[str], dict[str, Any]]


def reason(request: dict[str, Any], bounds: Bounds | None = None) -> str:
    with pytest.raises(WorkError) as caught:
        call("recognise", request, bounds=bounds)
    assert type(caught.value) is WorkError
    return str(caught.value)


def test_an_answer_comes_back(request_: Make) -> None:
    assert call("recognise", request_("works")) == IDS


def test_a_fault_of_the_user_comes_back_as_one(request_: Make, tmp_path: Path) -> None:
    with pytest.raises(UserFault) as caught:
        call("recognise", request_("fault"))
    assert str(caught.value) == f"{tmp_path / 'fault'}: is not a model, dear user"


def test_a_backend_that_is_not_known_there_is_a_fault_too(request_: Make) -> None:
    with pytest.raises(UserFault, match='no backend "truble"; did you mean "trouble"'):
        call("recognise", {**request_("works"), "backend": "truble"})


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("error", "ended with 1: RuntimeError: the runtime gave up"),
        ("segfault", "was ended by SIGSEGV: about to crash"),
        ("abort", "was ended by SIGABRT"),
        ("leaves", "ended with 7"),
    ],
)
def test_a_crash_comes_back_with_how_it_ended(request_: Make, harm: str, said: str) -> None:
    assert reason(request_(harm)).startswith(said)


def test_a_runtime_that_hangs_is_ended(request_: Make, tmp_path: Path) -> None:
    assert reason(request_("hangs"), Bounds(time_s=3)) == "took more than 3 s and was ended"
    begun = tmp_path / "pid"  # not there where the machine was too busy for it to begin
    assert not begun.exists() or gone(int(begun.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_runtime_that_wants_more_memory_than_it_may_use_fails(request_: Make) -> None:
    said = reason(request_("eats"), Bounds(memory_mb=2000))
    assert said.startswith("ended with 1: ")
    assert "MemoryError" in said
    assert "Unable to allocate 7.45 GiB" in said
    assert call("recognise", request_("works"), bounds=Bounds(memory_mb=2000)) == IDS


@pytest.mark.parametrize("harm", ["prints", "closes"])
def test_what_a_runtime_prints_is_no_part_of_the_answer(request_: Make, harm: str) -> None:
    assert call("recognise", request_(harm)) == IDS


@pytest.mark.parametrize("harm", ["lingers", "lingers_and_fails"])
def test_what_a_runtime_has_started_ends_with_it_and_holds_nothing_up(
    request_: Make, tmp_path: Path, harm: str
) -> None:
    if harm == "lingers":
        assert call("recognise", request_(harm)) == IDS
    else:
        assert reason(request_(harm)) == "ended with 1: RuntimeError: the runtime gave up"
    assert gone(int((tmp_path / "pid").read_text()))


def test_the_caller_is_told_of_the_process(request_: Make) -> None:
    told: list[subprocess.Popen[str]] = []
    with pytest.raises(WorkError, match="was ended by SIGTERM"):
        call("recognise", request_("hangs"), on_start=lambda p: (told.append(p), p.terminate()))
    assert told[0].returncode == -signal.SIGTERM


def test_a_process_that_the_kernel_ends_for_want_of_memory_is_no_fault_of_the_work(
    request_: Make,
) -> None:
    with pytest.raises(Killed, match="its process was ended by SIGKILL") as caught:
        call("recognise", request_("hangs"), on_start=lambda p: p.kill())
    error = job_error(caught.value)
    assert (error.is_environment_fault, error.is_user_fault) == (True, False)
    assert error.error.startswith(KILLED)  # so that only so many of them count as the host's


def test_the_number_of_threads_is_told_before_any_library_is_loaded(request_: Make) -> None:
    with pytest.raises(UserFault, match=r"^3 threads$"):
        call("recognise", request_("threads"), threads=3)


def test_a_child_tells_of_the_machine_that_it_runs_on() -> None:
    told = call("machine", {})
    assert told["cores"] >= 1
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))


_PARENT = """
import sys
from workers.isolated_call import call
call("recognise", {"backend": "trouble", "model": sys.argv[1], "settings": {},
                   "features": sys.argv[2], "at": [[0, 5]]})
"""


@linux
def test_a_child_ends_when_its_parent_is_killed(
    request_: Make, plugin: Path, tmp_path: Path
) -> None:
    request = request_("hangs")
    paths = os.pathsep.join([str(plugin), *(p for p in sys.path if "site-packages" not in p)])
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, request["model"], request["features"]],
        env={**os.environ, "PYTHONPATH": paths},
    )
    started = tmp_path / "pid"
    try:
        while not (started.exists() and started.read_text()):
            assert parent.poll() is None
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
    assert gone(int(started.read_text()))


def gone(pid: int, patience_s: float = 30) -> bool:
    """Whether a process ends, or has; one that nobody has asked for its end counts as ended."""
    end = time.monotonic() + patience_s
    while True:
        try:
            os.kill(pid, 0)
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
