"""Nothing of the user's is written over, and nothing is written in two ways."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from search.cli.main import run

Export = Callable[..., tuple[int, str]]


@pytest.fixture
def export(finished: Path, capsys: pytest.CaptureFixture[str]) -> Export:
    def call(target: Path) -> tuple[int, str]:
        code = run(["--home", str(finished), "export", "--best", "wer", "--overwrite", str(target)])
        return code, "".join(capsys.readouterr())

    return call


def _zip(path: Path, **members: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)


@pytest.mark.parametrize("name", ["train.csv", "thesis.zip", "other.zip", "odd.zip", "folder"])
def test_export_overwrites_nothing_but_a_bundle_of_ours(
    export: Export, tmp_path: Path, name: str
) -> None:
    (tmp_path / "train.csv").write_text("path,sentence\n")
    _zip(tmp_path / "thesis.zip", thesis_tex="all of it")
    _zip(tmp_path / "other.zip", bundle_json='{"format": "of something else"}')
    _zip(tmp_path / "odd.zip", bundle_json="[" * 100_000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "bundle.json").write_text("{}")
    target = tmp_path / name
    before = target.read_bytes() if target.is_file() else None
    what = "folder" if target.is_dir() else "file"
    code, said = export(target)
    assert code == 2
    assert f"{target} is a {what} but not a bundle, so it stays; choose another place" in said
    assert before is None or target.read_bytes() == before
    assert target.is_file() or (target / "bundle.json").read_text() == "{}"


@pytest.mark.parametrize("name", ["student", "student.zip"])
def test_export_overwrites_a_bundle_of_ours(export: Export, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    assert export(target)[0] == 0
    assert export(target)[0] == 0
    assert run(["front", str(target)]) == 2


def test_two_ways_to_write_the_front_are_refused(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(finished), "front", "--json", "--csv"]) == 2
    said = capsys.readouterr()
    assert "--csv and --json: choose one" in said.err
    assert said.out == ""
    assert run(["--home", str(finished), "front", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)[0]["metrics"]
    assert figures["wer"] == figures["wer@cpu"]
