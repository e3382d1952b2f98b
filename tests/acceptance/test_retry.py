"""`search retry` takes failed trials up again, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from store_rows import STUDY

from storage.records import StudyState, TrialState
from storage.store import Store

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A finished study: trial 0 complete, 1 and 2 failed."""
    store = Store(str(tmp_path / "store.sqlite"))
    study = store.studies.create(**STUDY)
    store.studies.change(study.id, state=StudyState.FINISHED)
    for number, state in enumerate((TrialState.COMPLETE, TrialState.FAILED, TrialState.FAILED)):
        trial = store.trials.add(
            study.id,
            number=number,
            values={},
            recipe={},
            recipe_digest="",
            label="a student",
            source="sampler",
        )
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
    assert "trial 0 is complete; only failed ones are tried again" in done.stderr
    assert _states(home) == ["complete", "failed", "failed"]
