"""A result file that holds something else is no result: the stage does its work again."""

from __future__ import annotations

from pathlib import Path

import pytest

from spaces.recipe import Quantize
from workers.errors import LostInput
from workers.jobs import Export
from workers.stages.run import run_stage
from workers.workspace import Workspace


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "null", "7", '{"kind": "export"}', '{"kind": "train"}', "[" * 100_000],
    ids=["empty", "{}", "[]", "null", "number", "no fields", "another stage", "deep"],
)
def test_a_file_that_is_no_result_is_not_taken_for_one(tmp_path: Path, content: str) -> None:
    workspace = Workspace(
        artifacts=str(tmp_path / "artifacts"),
        cache=tmp_path / "cache",
        work=tmp_path / "work",
        locks=tmp_path / "locks",
    )
    job = Export(checkpoint="0" * 64, quantize=Quantize(), corpus="none")
    folder = workspace.stage_folder(job)
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(content)
    with pytest.raises(LostInput, match="the prepared corpus"):  # work was begun
        run_stage(job, workspace)
