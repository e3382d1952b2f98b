"""Where the compute of a study went."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fabricated import fabricate
from pages import with_store

from search.analysis.costs import StageCost, stage_costs
from search.cli.main import run
from storage.records import Study
from storage.store import Store


def _study(store: Store) -> Study:
    study = fabricate(store, "edge", 0)
    attempts = [
        (None, "prepare", "done", 5.0),
        (None, "train", "done", 60.0),
        (0, "train", "failed", 0.0),
        (0, "train", "done", 30.0),
        (1, "train", "reused", 0.0),
        (0, "measure@cpu", "done", 2.0),
        (0, "measure@pi5", "done", 3.0),
    ]
    for number, stage, state, cpu_s in attempts:
        result = {"kind": "train", "checkpoint": "c", "cpu_s": cpu_s}
        if stage == "prepare":
            result = {"kind": "prepare", "corpus": "c", "cpu_s": cpu_s}
        if stage.startswith("measure"):
            result = {"kind": "measure", "cpu_s": cpu_s}
        store.stage_runs.add(
            study.id,
            trial_number=number,
            stage=stage,
            key="k",
            attempt=1,
            state=state,
            started_at=0.0,
            duration_s=10.0,
            result={} if state == "failed" else result,
        )
    return study


def test_what_was_spent_is_told_by_stage_with_what_cost_nothing_and_what_failed(
    tmp_path: Path,
) -> None:
    def spent(store: Store) -> list[StageCost]:
        return stage_costs(store.stage_runs.of(_study(store).id))

    assert with_store(tmp_path, spent) == [
        StageCost(False, "prepare", 1, 0, 0, 5.0, 10.0),
        StageCost(False, "train", 1, 0, 0, 60.0, 10.0),
        StageCost(True, "train", 1, 1, 1, 30.0, 30.0),
        StageCost(True, "measure", 2, 0, 0, 5.0, 20.0),
    ]


def test_the_command_tells_it_as_a_table_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_store(tmp_path, _study)
    assert run(["--home", str(tmp_path), "status", "edge", "--costs"]) == 0
    said = capsys.readouterr().out
    assert "compute: 0:01:40 of processors" in said
    assert "60%" in said
    assert run(["--home", str(tmp_path), "status", "edge", "--costs", "--json"]) == 0
    (study,) = json.loads(capsys.readouterr().out)
    assert [c["cpu_s"] for c in study["costs"]] == [5.0, 60.0, 30.0, 5.0]
