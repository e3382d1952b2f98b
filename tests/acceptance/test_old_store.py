"""A store of the first version opens, shows, exports and continues.

`stores/version_1.tar.xz` was written by that version (revision 0003, stage results as untyped
facts): store, artifacts but for those that only it could use, the space, and what its own
`front --json` and `show 0 --json` said.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from folders import ROOT

Search = Callable[..., str]
STORE = ROOT / "tests" / "support" / "stores" / "version_1.tar.xz"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with tarfile.open(STORE) as archive:
        archive.extractall(tmp_path / "home", filter="data")
    return tmp_path / "home"


@pytest.fixture
def search(home: Path, cli: Callable[..., CompletedProcess[str]]) -> Search:
    def run(*arguments: object) -> str:
        done = cli("--home", home, *arguments, cwd=home)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def _only(row: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """What that version told too: later ones tell more."""
    return {key: row[key] for key in keys}


def _recorded(home: Path, name: str) -> Any:
    return json.loads((home / name).read_text())


def test_it_opens_and_shows_digit_for_digit_what_it_held(home: Path, search: Search) -> None:
    rows = {row["trial"]: row for row in json.loads(search("front", "old", "--all", "--json"))}
    recorded = _recorded(home, "front.json")
    assert {row["trial"]: _only(rows[row["trial"]], row) for row in recorded} == {
        row["trial"]: row for row in recorded
    }
    shown = _recorded(home, "show.json")
    assert _only(json.loads(search("show", "0", "--json")), shown) == shown
    assert "old" in search("status")


def test_its_front_has_no_member_by_a_difference_that_was_not_told_apart(
    home: Path, search: Search
) -> None:
    # that version had trial 1 for 0.13 ms of 2.5: larger than trial 3 and as many errors
    assert {row["trial"] for row in _recorded(home, "front.json")} == {0, 1, 3}
    assert {row["trial"] for row in json.loads(search("front", "old", "--json"))} == {0, 3}


def test_a_trial_of_it_is_exported_as_the_file_that_was_measured(
    home: Path, search: Search, tmp_path: Path
) -> None:
    search("export", "--trial", "0", tmp_path / "student.zip")
    with zipfile.ZipFile(tmp_path / "student.zip") as bundle:
        model = bundle.read("model.onnx")
    digest = sha256(model).hexdigest()
    assert (home / "artifacts" / digest[:2] / digest).read_bytes() == model


def test_it_is_continued_and_nothing_that_is_finished_is_done_again(
    home: Path, search: Search
) -> None:
    before = {row["trial"]: row for row in json.loads(search("front", "old", "--all", "--json"))}
    said = search("launch", "--space", "small.yaml", "--trials", "5", "--plain")
    assert "5 of 5 trials complete" in said
    assert "study: train" not in said and "trial 4: train" in said
    assert not any(f"trial {number}: train" in said for number in before)
    after = {row["trial"]: row for row in json.loads(search("front", "old", "--all", "--json"))}
    assert all(_lasting(after[number]) == _lasting(row) for number, row in before.items())
    assert after[4]["metrics"]["size_mb"] > 0


def _lasting(row: dict[str, Any]) -> list[Any]:
    """What being measured once more at the end of a search leaves as it was."""
    metrics = row["metrics"]
    return [row["state"], row["recipe"], metrics["wer"], metrics["size_mb"], metrics["macs"]]
