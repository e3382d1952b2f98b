"""A study on this machine and a device that dies twice: every trial ends measured on both."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import yaml
from agents import TOKEN, serving
from shell import TINY_SPACE, command

from storage.records import StudyState, TrialState
from storage.store import Store

N_TRIALS = 4
PATIENCE_S = 200


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _space(folder: Path, port: int) -> Path:
    space = yaml.safe_load(TINY_SPACE)
    quick = {"runs": 10, "restarts": 1, "tries": 1, "max_s": 0.5}
    space["targets"] = {
        "cpu": quick,
        "board": {"agent": f"http://127.0.0.1:{port}", "token_env": "SEARCH_BOARD_TOKEN", **quick},
    }
    space["objectives"] = ["wer", "latency_p95_ms", "latency_p95_ms@board"]
    space["search"] = {"trials": N_TRIALS, "parallel": 2}
    path = folder / "two.yaml"
    path.write_text(yaml.safe_dump(space, sort_keys=False))
    return path


def _said(home: Path) -> tuple[int, int]:
    """(measurements on the board so far, times it went away)."""
    if not (home / "store.sqlite").exists():
        return 0, 0
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    try:
        study = store.studies.find("tiny")
        if study is None:
            return 0, 0
        runs, events = store.stage_runs.of(study.id), store.events.of(study.id)
    finally:
        store.close()
    measured = sum(r.stage == "measure@board" for r in runs)
    return measured, sum("its measurements wait" in e.message for e in events)


def _wait(home: Path, which: int, count: int, search: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_S
    while _said(home)[which] < count:
        assert search.poll() is None, "the search ended early"
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.1)


def test_a_device_that_dies_twice_delays_its_measurements_and_fails_nothing(tmp_path):
    port, home = _free_port(), tmp_path / "home"
    log = tmp_path / "log"
    with ExitStack() as stack, log.open("wb") as to:
        board = stack.enter_context(serving(tmp_path / "board", port=port))
        search = subprocess.Popen(
            command("--home", home, "launch", "--space", _space(tmp_path, port), "--plain"),
            stdout=to,
            stderr=to,
            env={**os.environ, "SEARCH_BOARD_TOKEN": TOKEN},
        )
        stack.callback(search.kill)
        for times, measured in ((1, 1), (2, 3)):  # after the teacher; after some trials
            _wait(home, 0, measured, search)
            board.process.kill()
            board.process.wait()
            _wait(home, 1, times, search)
            board = stack.enter_context(serving(tmp_path / "board", port=port))
        assert search.wait(PATIENCE_S) == 0, log.read_text()
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    study = store.studies.get("tiny")
    trials = store.trials.of(study.id)
    assert study.state is StudyState.FINISHED
    assert [t.state for t in trials] == [TrialState.COMPLETE] * N_TRIALS, log.read_text()
    for trial in trials:
        assert {"latency_p95_ms@cpu", "latency_p95_ms@board"} <= set(trial.metrics)
        stages = [r.stage for r in store.stage_runs.of(study.id, trial.number)]
        assert len(stages) == len(set(stages)), "something was done twice"
    assert "latency_p50_ms@board" in study.teacher_metrics
    said = [e.message for e in store.events.of(study.id) if e.kind == "device"]
    assert any("its measurements wait" in m for m in said)
    assert "board is back" in said
    assert TOKEN not in log.read_text()
    store.close()
