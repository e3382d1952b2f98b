"""What CONTRIBUTING.md says of adding is true: its example is installed and searched with."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import ROOT
from shell import command

_BLOCK = re.compile(r"```\w+\n# (?P<name>[\w.]+)\n(?P<text>.*?)```", re.S)


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The command line beside a package that consists of the files of CONTRIBUTING.md."""
    folder = tmp_path_factory.mktemp("package")
    described = folder / "added-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
    for block in _BLOCK.finditer((ROOT / "CONTRIBUTING.md").read_text()):
        inside = described if block["name"] == "entry_points.txt" else folder
        (inside / block["name"]).write_text(block["text"])
    paths = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))

    def run(*arguments: object) -> str:
        done = subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def launched(search: Callable[..., str]) -> str:
    return search("launch", "--space", "added.yaml", "--plain")


def test_a_family_a_loss_a_rule_and_a_stage_of_another_package_are_searched_with(
    search: Callable[..., str], launched: str
) -> None:
    assert "3 of 3 trials complete" in launched
    rows = json.loads(search("front", "added", "--all", "--json"))
    assert {row["recipe"]["student"]["family"] for row in rows} == {"shallow"}
    for row in rows:
        assert row["recipe"]["prune"] == {"ratio": 0.3, "epochs": 1, "rule": "first"}
        assert row["recipe"]["losses"][0]["name"] == "entropy"
        assert 0 < row["metrics"]["size_mb"] < 0.2


def test_a_stage_of_another_package_is_shown_with_its_notes(
    search: Callable[..., str], launched: str
) -> None:
    assert re.search(r"model\.onnx has \d+ bytes", search("show", "0"))


def test_a_student_of_another_packages_family_is_exported_and_transcribes(
    search: Callable[..., str], launched: str, tmp_path: Path
) -> None:
    search("export", "--trial", "0", tmp_path / "student.zip")
    assert (tmp_path / "student.zip").stat().st_size > 1000


def test_what_a_package_adds_is_validated_like_ours(search: Callable[..., str]) -> None:
    assert "added" in search("validate", "added.yaml")
