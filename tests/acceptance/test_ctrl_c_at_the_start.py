"""Signals before a search runs: Ctrl-C is exit code 130 and one word; where the process that stages
are forked from is killed, another is started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fork_server import environment_in_which_it_sends
from shell import command

_CALL = "from search.cli import main; main()"


def _interrupted(home: Path, heard_at: str) -> tuple[int, str]:
    """Exit code and standard error of a search that is interrupted, with all that it started, as
    soon as a line holds some text."""
    call = [sys.executable, "-c", _CALL, "--home", str(home)]
    launch = [*call, "launch", "--plain", "--space", "quickstart.yaml"]
    with subprocess.Popen(
        launch,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        before = next(line for line in process.stdout if heard_at in line)
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    return process.returncode, before + rest


# The signal comes from the process itself: however busy the machine is, it falls into this import.
_AT_IMPORT = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
from search.cli import main
main()
"""


@pytest.mark.parametrize("module", ["click.core", "search.cli.common", "spaces.load", "pydantic"])
def test_during_imports_it_is_one_word(tmp_path: Path, module: str) -> None:
    launch = ("--home", str(tmp_path), "launch", "--plain", "--space", "quickstart.yaml")
    call = [sys.executable, "-c", f"MODULE = {module!r}\n{_AT_IMPORT}", *launch]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 130
    assert (done.stdout + done.stderr).split() == ["stopped"]


def test_while_the_processes_of_the_stages_start_it_is_no_traceback(tmp_path: Path) -> None:
    code, said = _interrupted(tmp_path, 'study "quickstart" starts')
    assert code == 130
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said
    assert "stopped" in said


def _started_with(
    folder: Path, space: Path, name: str, module: str, **where: bool
) -> subprocess.CompletedProcess[str]:
    """A search of one trial whose server sends itself a signal while it starts."""
    return subprocess.run(
        command("--home", folder / "home", "launch", "--plain", "--space", space, "--trials", 1),
        capture_output=True,
        text=True,
        start_new_session=True,
        env=environment_in_which_it_sends(folder, name, module, **where),
    )


def test_ctrl_c_before_the_server_of_the_stages_is_ready_does_not_reach_it(
    tmp_path: Path, tiny_space: Path
) -> None:
    done = _started_with(tmp_path, tiny_space, "SIGINT", "workers.stages.preload")
    assert (tmp_path / "sent").exists()
    assert "Traceback" not in done.stderr
    assert "KeyboardInterrupt" not in done.stderr
    assert "is taken up again" not in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_server_of_the_stages_that_is_killed_while_it_starts_is_started_anew(
    tmp_path: Path, tiny_space: Path
) -> None:
    done = _started_with(tmp_path, tiny_space, "SIGKILL", "torch")
    assert (tmp_path / "sent").exists()
    assert "the process that stages are forked from was ended while it started" in done.stdout
    assert "1 of 1 trials complete" in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr


def test_sigterm_to_all_while_the_server_of_the_stages_starts_stops_the_search(
    tmp_path: Path, tiny_space: Path
) -> None:
    done = _started_with(tmp_path, tiny_space, "SIGTERM", "torch", to_all=True)
    assert (tmp_path / "sent").exists()
    assert done.returncode == 130
    assert "stopped. To continue: search launch" in done.stdout
    assert done.stderr == ""
