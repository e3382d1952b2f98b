"""Who is killed while data are prepared leaves no process, and after the next launch no file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest
from processes import within
from shell import TINY_SPACE, command

LONG_NAME = "temporary" * 12  # the path of a socket could not be so long


def _speakers(coordinator: int) -> list[psutil.Process]:
    below = psutil.Process(coordinator).children(recursive=True)
    return [p for p in below if "speak" in p.cmdline()]


@pytest.mark.parametrize("victim", ["coordinator", "synthesiser"])
def test_a_killed_preparation_leaves_nothing(
    victim: str,
    tmp_path: Path,
    cli: Callable[..., CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, space, temporary = tmp_path / "home", tmp_path / "tiny.yaml", tmp_path / LONG_NAME
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    space.write_text(TINY_SPACE.replace("train_utterances: 60", "train_utterances: 240"))
    launch = ("--home", home, "launch", "--space", space, "--trials", 1)
    process = subprocess.Popen(
        command(*launch), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert within(60, lambda: list(home.glob("cache/synthetic/*.partial/*.flac")))
    mine = _speakers(process.pid)
    assert mine
    if victim == "coordinator":
        process.kill()
        process.wait(60)
        assert within(10, lambda: not any(p.is_running() for p in mine))
    else:
        for speaker in mine:
            speaker.kill()
        process.wait(240)
    done = cli(*launch)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 trials complete" in done.stdout
    assert not list(home.rglob("*.partial"))
    assert not list(temporary.iterdir())
