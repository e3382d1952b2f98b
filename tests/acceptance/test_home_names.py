"""A home may have any name: what is in it is there, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

ODD = ("runs?a", "x%41", "a::b", "with space", "naïve#1", "file:", "s3:")


@pytest.mark.parametrize("name", ODD)
def test_a_home_of_an_odd_name_holds_its_store(
    name: str, tmp_path: Path, cli: Callable[..., CompletedProcess[str]]
) -> None:
    done = cli("--home", name, "doctor", cwd=tmp_path)
    assert "sqlite, 0 studies" in done.stdout, done.stdout + done.stderr
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "store.sqlite").is_file()


def test_homes_whose_names_differ_behind_a_question_mark_share_nothing(
    tmp_path: Path, cli: Callable[..., CompletedProcess[str]]
) -> None:
    for name in ("runs?a", "runs?b"):
        cli("--home", name, "doctor", cwd=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs?a", "runs?b"]
