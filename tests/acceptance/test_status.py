"""`search status` answers what is done, what runs now and how long it will take."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from store_rows import STUDY, add_trial

from search.progress import LiveStatus, RunningStage, StageProgress
from storage.records import Study, TrialState
from storage.store import Store

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "store.sqlite"))
    yield store
    store.close()


@pytest.fixture
def study(store: Store) -> Study:
    """One trial complete, one begun, of twelve."""
    study = store.studies.create(**{**STUDY, "trials_wanted": 12})
    for number, state in enumerate((TrialState.COMPLETE, TrialState.RUNNING)):
        trial = add_trial(store, study, number)
        store.trials.save(trial.evolve(state=state))
    return study


def _live(at: float) -> LiveStatus:
    progress = StageProgress(what="epochs", done=3, of=40)
    running = RunningStage(trial=1, stage="train", elapsed_s=12.0, progress=progress)
    return LiveStatus(at=at, host="here", eta_s=3725.0, elapsed_s=61.0, running=(running,))


def test_a_running_study_says_stage_epoch_and_time_to_go(
    store: Store, study: Study, tmp_path: Path, cli: Cli
) -> None:
    store.studies.change(study.id, live=_live(time.time()).as_json())
    said = cli("--home", tmp_path, "status").stdout
    assert "running, 1/12 trials (1 complete, 1 running), 0:01:01 so far, about 1:02:05" in said
    assert "now: trial 1 train, epochs 3/40, 12 s" in said
    (row,) = json.loads(cli("--home", tmp_path, "status", "--json").stdout)
    assert (row["trials_ended"], row["live"]["eta_s"]) == (1, 3725.0)


@pytest.mark.parametrize("live", [None, _live(at=0.0)], ids=["stopped", "silent for long"])
def test_nothing_is_said_to_run_that_nobody_works_on(
    live: LiveStatus | None, store: Store, study: Study, tmp_path: Path, cli: Cli
) -> None:
    store.studies.change(study.id, live=None if live is None else live.as_json())
    said = cli("--home", tmp_path, "status").stdout
    assert "stopped (interrupted: `search launch` continues it), 1/12 trials" in said
    assert "(1 complete, 1 unfinished)" in said
    assert "now:" not in said
