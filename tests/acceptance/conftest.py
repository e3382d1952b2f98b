from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# A search that goes through every stage in seconds.
TINY_SPACE = """
name: tiny
data:
  synthetic: {train_utterances: 60, dev_utterances: 12, speakers: 8}
  speeds: [1.0]
teacher:
  train:
    student: {family: separable_conv, channels: 32, blocks: 2}
    training: {epochs: 3}
students:
  separable_conv: {channels: [16, 24, 32], blocks: [1, 2]}
  recurrent: {cell: [gru, lstm], channels: [16], hidden: [16, 24], layers: [1]}
training: {epochs: 4}
distil: {weight: [0.0, 0.5]}
prune: {ratio: [0.0, 0.4], epochs: 2}
quantize: {scheme: [fp32, int8_dynamic]}
targets: {cpu: {runs: 10}}
search: {trials: 6, parallel: 2}
"""


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Homes of a test session share one folder for the corpora they make."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(TINY_SPACE)
    return path


Cli = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from search.cli import main; main()", *map(str, arguments)]


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs `search …` in a process of its own."""

    def call(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            timeout=280,
            env={**os.environ, "COLUMNS": "160"},
            **options,  # type: ignore[call-overload]
        )

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_space: Path, cli: Cli) -> Path:
    """The home of a finished search."""
    home = tmp_path_factory.mktemp("finished")
    done = cli("--home", home, "launch", "--space", tiny_space)
    assert done.returncode == 0, done.stdout + done.stderr
    return home


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]
