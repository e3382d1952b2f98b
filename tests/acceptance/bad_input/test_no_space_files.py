"""Files that are no space, or none that can be read; and how the process itself ends."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import NO_MAPPING, SPACE, Refused


def test_aliases_that_multiply_are_refused_at_once(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for a, b in itertools.pairwise("abcdefghi"):
        lines.append(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]")
    path.write_text("\n".join(lines))
    said = refused("validate", path, "--quick")
    assert f"{path}:5: e: its aliases stand for more than 100,000 values; write the values" in said


SHIPPED = "shipped spaces: an4.yaml, car.yaml, edge.yaml, quickstart.yaml, server.yaml"
NO_SPACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, f": no such file; {SHIPPED}"),
    "a folder": (Path.mkdir, f": is a folder, not a file; {SHIPPED}"),
    "empty": (Path.touch, f":1: {NO_MAPPING}"),
    "not UTF-8": (
        lambda path: path.write_bytes(b"name: tiny\ndescription: caf\xe9\n"),
        ":2: is not UTF-8 text; save it as UTF-8",
    ),
    "binary": (
        lambda path: path.write_bytes(b"name: \0\1\2"),
        ":1: is not YAML: unacceptable character #x0000",
    ),
    "a megabyte": (
        lambda path: path.write_text("#" * 1_100_000),
        ": is 1,100,000 bytes: no space file",
    ),
}


@pytest.mark.parametrize("command", ["validate", "launch"])
@pytest.mark.parametrize("kind", NO_SPACES)
def test_a_file_that_is_no_space_is_refused(
    refused: Refused, tmp_path: Path, home: Path, kind: str, command: str
) -> None:
    make, said = NO_SPACES[kind]
    path = tmp_path / "tiny.yaml"
    make(path)
    call = ("validate", path) if command == "validate" else ("launch", "--space", path)
    assert f"{path}: 1 fault; nothing was started\n  {path}{said}" in refused("--home", home, *call)
    assert not home.exists()


def test_a_shipped_space_misspelt_is_suggested(refused: Refused) -> None:
    said = refused("validate", "quikstart.yaml")
    assert (
        'no such file (did you mean the shipped space "quickstart.yaml"?); shipped spaces:' in said
    )


def test_the_process_itself_ends_with_2_and_complains_on_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE.replace("trials:", "trails:"))
    done = subprocess.run(
        [sys.executable, "-c", "from search.cli import main; main()", "validate", str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"search: {path}: 1 fault; nothing was started\n"
        f'  {path}:17: search.trails: unknown key; did you mean "trials"?\n'
    )
