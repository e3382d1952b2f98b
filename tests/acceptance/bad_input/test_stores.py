"""Stores, artifacts and homes that cannot be opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from refusals import Refused

BAD_STORES = {
    "nonsense": '"nonsense" is not a database URL; write sqlite:///path/store.sqlite or',
    "mysql://me@host/name": "mysql: the store is SQLite or PostgreSQL",
    "sqlite:///folder": "the store sqlite:///folder cannot be opened: unable to open database file",
    "sqlite:///text": "the store sqlite:///text cannot be opened: file is not a database",
    "sqlite:///gone/store.sqlite": "no studies in gone yet; start one with `search launch --space",
}


@pytest.mark.parametrize("url", BAD_STORES)
def test_a_store_that_cannot_be_opened_is_told(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("text").write_text("this is no database " * 100)
    assert BAD_STORES[url] in refused("--store", url, "status")


def test_a_server_that_does_not_answer_is_told_without_the_password(
    refused: Refused, home: Path
) -> None:
    pytest.importorskip("psycopg", reason="the extra postgresql is not installed")
    said = refused("--home", home, "--store", "postgresql://me:secret@127.0.0.1:1/name", "status")
    assert "me:***@127.0.0.1:1/name cannot be opened: connection failed" in said
    assert said.rstrip().endswith("; is the server running?")
    assert "secret" not in said


def test_artifacts_of_an_unknown_kind_of_place_are_refused(refused: Refused, home: Path) -> None:
    call = ("--artifacts", "nowhere://bucket", "launch", "--space", "quickstart.yaml")
    assert "artifacts nowhere://bucket: Protocol not known: nowhere" in refused(
        "--home", home, *call
    )


def test_a_home_that_is_a_file_is_refused(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert f"Directory '{path}' is a file." in refused("--home", path, "status")
    said = refused("--home", path / "home", "launch", "--space", "quickstart.yaml")
    assert f"{path}/home/locks: Not a directory" in said
