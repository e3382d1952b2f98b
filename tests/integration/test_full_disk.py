"""A disk with no room for even the outcome of a stage is no fault of the stage."""

from __future__ import annotations

from pathlib import Path

import pytest
from harm import Plan, perform

from search.executors.base import JobOutcome
from search.executors.local import LocalExecutor
from search.home import Home
from spaces.recipe import Quantize
from workers.jobs import Export, key_of


def test_a_stage_that_cannot_write_its_outcome_is_a_fault_of_the_host(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = Home.at(tmp_path / "disk" / "home")
    job = Export(checkpoint="0" * 64, quantize=Quantize(), corpus="none")
    Plan("disk full", key_of(job), 1, 0.0).write(tmp_path)
    executor = LocalExecutor(home.workspace(), 60, perform)
    executor.submit(0, job)
    ended: list[JobOutcome] = []
    while not ended:
        ended = executor.poll(1.0)
    executor.close()
    assert ended[0].is_environment_fault
    assert ended[0].error == "its outcome could not be written (no space left on device?)"
    assert "Traceback" not in capfd.readouterr().err
