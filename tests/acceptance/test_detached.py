"""A search in the background, watched from elsewhere; and one that ends by its compute."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from coordinated import run
from fakes import SPACE, Work
from shell import TINY_SPACE

from search.home import Home
from storage.records import StudyState

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_SPACE.replace("trials: 6", "trials: 1"))
    return path


def test_a_search_runs_on_in_the_background_and_is_watched(
    cli: Cli, tmp_path: Path, space: Path
) -> None:
    home = tmp_path / "home"
    begun = cli("--home", home, "launch", "--space", space, "--detach")
    assert begun.returncode == 0, begun.stdout + begun.stderr
    assert f"its output goes to {home}/logs/tiny-" in begun.stdout
    seen = cli("--home", home, "attach", "tiny", "--json")
    assert seen.returncode == 0, seen.stdout + seen.stderr
    kinds = [json.loads(line)["kind"] for line in seen.stdout.splitlines()]
    assert "trial" in kinds
    status = json.loads(cli("--home", home, "status", "--json").stdout)
    assert [(s["state"], s["trials_ended"]) for s in status] == [("finished", 1)]
    over = cli("--home", home, "attach", "tiny")
    assert over.returncode == 2
    assert "is finished, not running" in over.stderr


def test_what_keeps_it_from_starting_is_told_at_once(cli: Cli, tmp_path: Path, space: Path) -> None:
    space.write_text(space.read_text().replace("students:", "pupils:"))
    done = cli("--home", tmp_path / "home", "launch", "--space", space, "--detach")
    assert done.returncode == 2
    assert "pupils" in done.stderr
    assert not (tmp_path / "home").exists()
    none = space.with_name("none.yaml")
    missing = cli("--home", tmp_path / "home", "launch", "--space", none, "--detach")
    assert missing.returncode == 2
    assert "no such file" in missing.stderr


def test_a_search_that_cannot_use_its_data_says_so_before_the_shell_is_free(
    cli: Cli, tmp_path: Path, space: Path
) -> None:
    text = space.read_text()
    begin = text.index("  synthetic:")
    rest = text[begin:].partition("\n")[2]
    space.write_text(f"{text[:begin]}  train: none.jsonl\n  dev: none.jsonl\n{rest}")
    home = tmp_path / "home"
    done = cli("--home", home, "launch", "--space", space, "--detach")
    for _ in range(100):  # it may have been under way already
        (log,) = (home / "logs").iterdir()
        if "no such file" in done.stderr + log.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(done.stdout + done.stderr)


def test_a_search_ends_when_its_compute_hours_are_spent(tmp_path: Path) -> None:
    text = SPACE.replace("trials: 14,", "trials: 14, compute_hours: 0.5,")
    work = Work()
    state, trials, _, _ = run(
        Home.at(tmp_path), lambda job: work(job).model_copy(update={"cpu_s": 60.0}), text
    )
    assert state is StudyState.FINISHED
    assert 3 <= len(trials) < 10  # of some six minutes each, two at a time


def test_a_cluster_that_does_not_answer_is_said_before_anything_begins(
    cli: Cli, tmp_path: Path, space: Path
) -> None:
    engine = ("--engine", "ray", "--address", "127.0.0.1:1")
    done = cli("--home", tmp_path / "home", "launch", "--space", space, *engine)
    assert done.returncode == 2
    assert "the Ray cluster 127.0.0.1:1 does not answer" in done.stderr
