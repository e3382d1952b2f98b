"""What runs somebody's model has nothing that a model does not need."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nosy
import pytest

from workers.errors import UserFault, WorkError
from workers.isolated_call import Bounds, call

Try = Callable[[str], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Try:
    """What comes of trying something in a confined process."""
    plugin = tmp_path / "plugin"
    described = plugin / "nosy-1.0.dist-info"
    described.mkdir(parents=True)
    shutil.copy(nosy.__file__, plugin)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: nosy\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[compression_search.backends]\nnosy=nosy\n")
    monkeypatch.syspath_prepend(plugin)
    monkeypatch.setenv("SECRET_TOKEN", "not to be seen")
    monkeypatch.setenv("OMP_PROC_BIND", "close")

    def told(what: str) -> object:
        request = {"backend": "nosy", "model": str(folder / what), "settings": {}}
        with pytest.raises(UserFault) as caught:
            call("recognise", request, threads=2, bounds=Bounds(folder=folder))
        return json.loads(str(caught.value))

    return told


def _open(folder: Path) -> list[str]:
    return call("open_doors", {}, bounds=Bounds(folder=folder))


@pytest.mark.parametrize(
    ("what", "door"),
    [
        ("connects", "use the network"),
        ("starts a program", "start processes"),
        ("forks", "start processes"),
        ("reads accounts", "read files of others"),
        ("reads its parent's secrets", "read files of others"),
        ("writes beside", "read files of others"),
    ],
)
def test_it_cannot_do_what_the_system_can_keep_it_from(
    what: str, door: str, told: Try, folder: Path
) -> None:
    if door in _open(folder):
        pytest.skip(f"this system cannot keep a process from this: {door}")
    assert str(told(what)).startswith("refused: ")


@pytest.mark.parametrize(
    ("what", "said"), [("starts a thread", "ran"), ("writes within", "written")]
)
def test_it_can_do_what_a_runtime_needs(what: str, said: str, told: Try) -> None:
    assert told(what) == said


def test_it_has_no_variables_but_those_that_runtimes_know(told: Try, folder: Path) -> None:
    seen = told("environment")
    assert isinstance(seen, dict)
    assert "SECRET_TOKEN" not in seen
    assert seen["HOME"] == seen["TMPDIR"] == str(folder)
    assert (seen["OMP_PROC_BIND"], seen["OMP_NUM_THREADS"]) == ("close", "2")


def test_it_works_in_its_own_folder_within_limits(told: Try, folder: Path) -> None:
    assert told("place") == str(folder)
    core_bytes, file_bytes, open_files = told("limits")  # type: ignore[misc]
    assert core_bytes == 0
    assert 0 < file_bytes <= 100_000_000
    assert 0 < open_files <= 512


def test_who_is_not_confined_can_do_all_of_it() -> None:
    assert call("open_doors", {}) == [
        "use the network",
        "start processes",
        "read files of others",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can do that")
def test_what_is_open_on_this_system_is_said(folder: Path) -> None:
    print(_open(folder))
    assert set(_open(folder)) <= set(call("open_doors", {}))


def test_an_answer_without_end_is_not_read() -> None:
    with pytest.raises(WorkError, match="answered more than 10 bytes"):
        call("machine", {}, bounds=Bounds(answer_bytes=10))
