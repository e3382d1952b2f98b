from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from forked import ForkedCommands
from shell import TINY_SPACE, command


@pytest.fixture(scope="session")
def tiny_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    text = TINY_SPACE.replace("speakers: 8}", "speakers: 8, test_utterances: 12}")
    path.write_text(text.replace(", confirm: false", ""))  # one search does all there is
    return path


@pytest.fixture(scope="session")
def quick_target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For --target-file: this machine, timed for a moment."""
    path = tmp_path_factory.mktemp("target") / "quick.yaml"
    path.write_text("{name: quick, runs: 10, restarts: 1, tries: 1, max_s: 0.3}")
    return path


Cli = Callable[..., subprocess.CompletedProcess[str]]
_LONGEST_S = 280


@pytest.fixture(scope="session")
def cli() -> Iterator[Cli]:
    """Runs `search …` in a process of its own: a fork of one that has imported it all, but where
    variables say what is settled when a process starts."""
    forked = ForkedCommands()

    def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "COLUMNS": "160"}
        if forked.would_serve(variables):
            return forked.run([*map(str, arguments)], variables, cwd or Path.cwd(), _LONGEST_S)
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            env=variables,
            cwd=cwd,
        )

    yield call
    forked.close()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_space: Path, cli: Cli) -> Path:
    """The home of a finished search: a copy, of what one worker has searched for all. Its audio
    stays where it was spoken, as manifests name it."""
    folder = tmp_path_factory.getbasetemp()
    made = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "finished"
    with FileLock(f"{made}.lock"):
        if not (made / "finished").exists():
            done = cli("--home", made, "launch", "--space", tiny_space)
            assert done.returncode == 0, done.stdout + done.stderr
            (made / "finished").touch()
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("copy") / "home"))
