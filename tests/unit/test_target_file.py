"""A file of targets for a study that is there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from spaces.errors import SpaceError
from spaces.space import Target
from spaces.target_file import load_targets


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "targets.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "targets: {two: {threads: 2}}",
        "name: two\nthreads: 2",
        "name: my-space\nsearch: {trials: 3}\ntargets: {two: {threads: 2}}",
    ],
    ids=["targets", "one target", "a space"],
)
def test_targets_are_read_as_in_a_space_or_one_by_its_name(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_targets(file) == {"two": Target(threads=2)}


def test_a_ca_file_lies_beside_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_PI5_TOKEN", "secret")
    file.write_text(
        "{name: pi5, agent: 'https://pi5:8765', token_env: SEARCH_PI5_TOKEN, ca_file: ca.pem}"
    )
    assert load_targets(file)["pi5"].ca_file == str(file.parent.resolve() / "ca.pem")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("threads: 2", ["names no target; write targets: as in a space"]),
        ("target: {two: {}}", ["names no target"]),
        ("- two", ["is not a mapping"]),
        (
            "name: two\n\nbackend: opnvino\nthread: 2",
            [':3: targets.two.backend: no backend "opnvino"', ":4: targets.two.thread: unknown"],
        ),
        ("targets:\n  two: {}\n  a b: {}", ["a target's name is letters, digits"]),
        ("targets: {two: {}}\nseach: {}", [":2: seach: unknown key"]),
    ],
)
def test_every_fault_is_told_with_its_line(file: Path, text: str, faults: list[str]) -> None:
    file.write_text(text)
    with pytest.raises(SpaceError) as caught:
        load_targets(file)
    assert all(fault in str(caught.value) for fault in faults), str(caught.value)


def test_what_is_not_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="is a folder, not a file"):
        load_targets(tmp_path)
    with pytest.raises(SpaceError, match="no such file"):
        load_targets(tmp_path / "none.yaml")
