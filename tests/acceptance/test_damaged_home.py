"""What was lost from a home between two launches, or cut short, is made again; the front is the
undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

Cli = Callable[..., CompletedProcess[str]]
BEFORE, TRIALS = 2, 3  # before the damage, and in all


def _launch(cli: Cli, home: Path, space: Path, trials: int) -> str:
    given = ("--space", space, "--deterministic", "--trials", trials)
    done = cli("--home", home, "launch", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _trials(cli: Cli, home: Path) -> list[tuple[Any, ...]]:
    rows = json.loads(cli("--home", home, "front", "--all", "--json").stdout)
    exact = ("wer", "size_mb", "macs", "params")
    return [(r["trial"], r["state"], *(r["metrics"][m] for m in exact)) for r in rows]


@pytest.fixture(scope="module")
def undisturbed(
    cli: Cli, tiny_space: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Any, ...]]:
    home = tmp_path_factory.mktemp("undisturbed")
    _launch(cli, home, tiny_space, TRIALS)
    return _trials(cli, home)


@pytest.fixture(scope="module")
def begun(cli: Cli, tiny_space: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the first trials, and beside it a copy to take it back to: its manifests name
    files by where they are."""
    home = tmp_path_factory.mktemp("begun") / "home"
    _launch(cli, home, tiny_space, BEFORE)
    shutil.copytree(home, home.with_name("kept"))
    return home


@pytest.fixture
def home(begun: Path) -> Path:
    """The home with the first trials as it was left."""
    shutil.rmtree(begun)
    return Path(shutil.copytree(begun.with_name("kept"), begun))


CACHES = (
    "cache/corpora/*/features.f32",
    "cache/corpora/*/index.json",
    "cache/teachers/*/frames.f16",
    "cache/teachers/*/index.json",
    "cache/synthetic/*/*.flac",
    "work/*/*/result.json",
)


def _cut_caches(home: Path) -> None:
    for pattern in CACHES:
        paths = list(home.glob(pattern))
        assert paths, pattern
        for path in paths:
            os.truncate(path, path.stat().st_size // 2)


def _harm_artifacts(home: Path) -> None:
    """Every other one is cut short, the rest deleted."""
    for i, path in enumerate(sorted((home / "artifacts").glob("*/*"))):
        if i % 2:
            path.unlink()
        else:
            os.truncate(path, path.stat().st_size // 2)


def _cut_older_caches(home: Path) -> None:
    """As a version left them that kept no list of what it had written."""
    lists = list(home.rglob(".whole.json"))
    assert lists
    for path in lists:
        path.unlink()
    _cut_caches(home)


DAMAGES = {
    "caches cut short": _cut_caches,
    "older caches cut short": _cut_older_caches,
    "artifacts harmed": _harm_artifacts,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_damaged_is_made_again(
    damage: str, cli: Cli, tiny_space: Path, home: Path, undisturbed: list[tuple[Any, ...]]
) -> None:
    DAMAGES[damage](home)
    assert f"{TRIALS} of {TRIALS} trials complete" in _launch(cli, home, tiny_space, TRIALS)
    assert _trials(cli, home) == undisturbed
    left = list(home.rglob("*.partial"))
    assert not left
