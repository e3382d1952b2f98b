"""`search retry` takes up again what failed, and what was measured and lost its files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from store_rows import STUDY, add_trial

from storage.records import StudyState, TrialState
from storage.store import Store
from workers.recognizer import MANIFEST

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A finished study: trial 0 complete, 1 and 2 failed."""
    store = Store(str(tmp_path / "store.sqlite"))
    study = store.studies.create(**STUDY)
    store.studies.change(study.id, state=StudyState.FINISHED)
    for number, state in enumerate((TrialState.COMPLETE, TrialState.FAILED, TrialState.FAILED)):
        trial = add_trial(store, study, number)
        store.trials.save(trial.evolve(state=state, reason="train: failed", finished_at=1.0))
    store.close()
    return tmp_path


def _states(home: Path) -> list[str]:
    store = Store(str(home / "store.sqlite"))
    trials = store.trials.of(store.studies.get(STUDY["name"]).id)
    store.close()
    return [str(t.state) for t in trials]


def test_all_that_failed_is_taken_up_again(home: Path, cli: Cli) -> None:
    said = cli("--home", home, "retry").stdout
    assert "trial 1, 2 will be tried again; go on with `search launch`" in said
    assert _states(home) == ["complete", "running", "running"]
    assert "no trial has failed" in cli("--home", home, "retry").stdout


def test_those_named_are_taken_up_again(home: Path, cli: Cli) -> None:
    assert cli("--home", home, "retry", 2).returncode == 0
    assert _states(home) == ["complete", "failed", "running"]


def test_what_did_not_fail_is_refused_and_nothing_changes(home: Path, cli: Cli) -> None:
    done = cli("--home", home, "retry", 1, 0)
    assert done.returncode == 2
    said = "trial 0 is complete and its files are there; only failed ones are tried again"
    assert said in done.stderr
    assert _states(home) == ["complete", "failed", "failed"]


@pytest.fixture
def searched(finished: Path, tmp_path: Path) -> Path:
    """A home of one's own with a finished search."""
    return Path(shutil.copytree(finished, tmp_path / "searched"))


def _model(cli: Cli, home: Path, tmp_path: Path) -> tuple[int, Path]:
    """A complete trial, and the artifact that is its model."""
    manifest = tmp_path / "whole" / MANIFEST
    cli("--home", home, "export", "--best", "wer", manifest.parent)
    told = json.loads(manifest.read_text())
    digest = told["files"][told["main"]]
    return told["trial"], home / "artifacts" / digest[:2] / digest


HARMS: dict[str, Callable[[Path], None]] = {
    "deleted": Path.unlink,
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_complete_trial_that_lost_its_model_says_so_and_gets_it_again(
    harm: str, searched: Path, cli: Cli, tmp_path: Path, tiny_space: Path
) -> None:
    number, model = _model(cli, searched, tmp_path)
    before = cli("--home", searched, "front", "--all", "--json").stdout
    HARMS[harm](model)

    lost = cli("--home", searched, "export", "--trial", number, tmp_path / "lost.zip")
    assert lost.returncode == 1
    assert f"`search retry {number} --study tiny` makes them anew" in lost.stderr
    assert not (tmp_path / "lost.zip").exists()
    shown = cli("--home", searched, "show", number).stdout
    assert f"are lost; `search retry {number} --study tiny` makes them anew" in shown

    said = cli("--home", searched, "retry", number).stdout
    assert f"trial {number} will be tried again; go on with `search launch`" in said
    done = cli("--home", searched, "launch", "--plain", "--space", tiny_space)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"trial {number}: export" in done.stdout
    assert f"trial {number}: measure@cpu" not in done.stdout  # the file is the same
    assert model.exists()
    assert cli("--home", searched, "front", "--all", "--json").stdout == before
    again = cli("--home", searched, "export", "--trial", number, tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert "lost" not in cli("--home", searched, "show", number).stdout
