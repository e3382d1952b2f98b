"""`search measure` that is interrupted: exit code 130, and what was measured before stands."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shell import command

from storage.records import StudyState, Trial
from storage.store import Store


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A home of one's own with a finished search."""
    return Path(shutil.copytree(finished, tmp_path / "home"))


def _trials(home: Path) -> list[Trial]:
    store = Store(str(home / "store.sqlite"))
    study = store.studies.get("tiny")
    trials = store.trials.of(study.id)
    store.close()
    assert study.state in (StudyState.FINISHED, StudyState.STOPPED)
    return [trial.evolve(finished_at=None) for trial in trials]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_it_measures_it_is_130_and_the_earlier_figures_stand(
    number: signal.Signals, home: Path
) -> None:
    before = _trials(home)
    every = [word for trial in before for word in ("--trial", trial.number)]
    with subprocess.Popen(
        command("--home", home, "measure", "tiny", "--plain", *every),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert any("study: prepare" in line for line in process.stdout)
        os.killpg(process.pid, number)
        said = process.stdout.read()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "its earlier measurement stands" in said
    assert _trials(home) == before


# The signal comes from the process itself, before there is anything that could notice it.
_BEFORE = """
import os, signal
import search.study.launch
search.study.launch.measure = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
from search.cli import main
main()
"""


def test_sigterm_before_it_measures_is_one_word(home: Path) -> None:
    call = [sys.executable, "-c", _BEFORE, "--home", str(home), "measure", "--plain"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 130
    assert (done.stdout + done.stderr).split() == ["stopped"]
