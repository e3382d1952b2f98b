"""What a home holds, what goes and what stays; the database and the logs."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from store_rows import STUDY, add_trial

from storage.records import StudyState
from storage.store import Store

Cli = Callable[..., CompletedProcess[str]]
_HOURS = 7200


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A finished study of which nothing was changed for hours; one stage never ended."""
    home = Path(shutil.copytree(finished, tmp_path / "home"))
    left = home / "work" / "train" / "0123"
    left.mkdir(parents=True)
    (left / "checkpoint.safetensors").write_bytes(b"0" * 10_000_000)
    for path in home.rglob("*"):
        told = path.stat()
        os.utime(path, (told.st_atime - _HOURS, told.st_mtime - _HOURS))
    return home


def _said(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _files(home: Path) -> set[Path]:
    kept = ("artifacts", "cache", "work")
    return {p for folder in kept for p in (home / folder).rglob("*") if p.is_file()}


def _items(cli: Cli, home: Path, *options: object) -> list[dict[str, object]]:
    said = _said(cli("--home", home, "gc", "--json", *options))
    items: list[dict[str, object]] = json.loads(said)["items"]
    return items


def test_without_yes_it_is_told_what_would_go_and_nothing_does(cli: Cli, home: Path) -> None:
    before = _files(home)
    said = _said(cli("--home", home, "gc"))
    assert "would remove" in said
    assert "do it with --yes" in said
    assert _files(home) == before


def test_what_is_on_no_front_goes_and_the_front_is_exported(
    cli: Cli, home: Path, tmp_path: Path
) -> None:
    front = {t["trial"] for t in json.loads(_said(cli("--home", home, "front", "--json")))}
    trials = json.loads(_said(cli("--home", home, "front", "--all", "--json")))
    others = {t["trial"] for t in trials} - front
    items = _items(cli, home, "--yes")
    gone = [item for item in items if item["goes"]]
    assert {item["kind"] for item in gone} >= {"artifact", "stage"}
    assert all(item["used_by"] == "" for item in gone)
    assert not any(Path(str(item["path"])).exists() for item in gone)
    assert all(Path(str(item["path"])).exists() for item in items if not item["goes"])
    for number in front:
        options = ("export", "--study", "tiny", "--trial", number, tmp_path / f"{number}.zip")
        _said(cli("--home", home, *options))
    assert others
    lost = cli("--home", home, "export", "--study", "tiny", "--trial", min(others), tmp_path / "x")
    assert lost.returncode != 0
    assert f"search retry {min(others)}" in lost.stderr


def test_a_trial_with_a_note_stays(cli: Cli, home: Path) -> None:
    front = {t["trial"] for t in json.loads(_said(cli("--home", home, "front", "--json")))}
    trials = json.loads(_said(cli("--home", home, "front", "--all", "--json")))
    noted = min({t["trial"] for t in trials} - front)
    n_gone = sum(bool(item["goes"]) for item in _items(cli, home))
    store = Store(str(home / "store.sqlite"))
    store.notes.add(store.studies.get("tiny").id, noted, "note", "for later", "me")
    store.close()
    items = _items(cli, home)
    assert sum(bool(item["goes"]) for item in items) < n_gone
    assert any(str(item["used_by"]) == f"tiny: trial {noted} has a note" for item in items)


def test_a_budget_takes_what_can_be_made_again_and_no_model(cli: Cli, home: Path) -> None:
    items = _items(cli, home, "--budget-gb", "0", "--keep-all", "--yes")
    gone = {str(item["kind"]) for item in items if item["goes"] and item["used_by"]}
    assert gone == {"corpus", "soft targets", "spoken corpus"}
    kept = {str(item["kind"]) for item in items if not item["goes"]}
    assert kept == {"artifact"}


def test_a_search_that_was_stopped_keeps_what_it_may_go_on_from(cli: Cli, home: Path) -> None:
    store = Store(str(home / "store.sqlite"))
    store.studies.change(store.studies.get("tiny").id, state=StudyState.STOPPED)
    store.close()
    draft = home / "cache" / "teachers" / ".abc.draft"
    draft.mkdir()
    (draft / "frames.f16").write_bytes(b"0")
    shard = home / "cache" / "shards" / "abc"
    shard.mkdir(parents=True)
    (shard / "plain.u8").write_bytes(b"0")
    for path in (draft, shard):
        for each in (*path.iterdir(), path):
            os.utime(each, (0, 0))
    left = {draft, shard, home / "work" / "train" / "0123"}
    kept = {Path(str(item["path"])) for item in _items(cli, home) if not item["goes"]}
    assert left <= kept


def test_what_another_store_may_need_is_not_removed(cli: Cli, home: Path, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.sqlite"
    Store(other).close()
    done = cli("--home", home, "--store", other, "gc", "--yes")
    assert done.returncode == 2
    assert "is another store of this home" in done.stderr
    (home / "locks" / "stores").write_text("postgresql://me@host/search\n")
    done = cli("--home", home, "gc", "--yes")
    assert done.returncode == 2
    assert "was used with the stores postgresql://me@host/search" in done.stderr
    assert "removed" in _said(cli("--home", home, "gc", "--yes", "--other-store"))


def test_what_is_young_stays(cli: Cli, home: Path) -> None:
    for path in home.rglob("*"):
        os.utime(path)
    assert "nothing to remove" in _said(cli("--home", home, "gc", "--yes"))


def test_a_study_that_is_being_run_is_not_cleaned(cli: Cli, home: Path) -> None:
    store = Store(str(home / "store.sqlite"))
    study = store.studies.get("tiny")
    store.studies.change(study.id, state=StudyState.RUNNING)
    lease = store.leases.take("tiny", {"home": "elsewhere"}, store.leases.find("tiny"))
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(0.2):
            store.leases.beat(lease)

    thread = threading.Thread(target=live)
    thread.start()
    done = cli("--home", home, "gc")
    ended.set()
    thread.join()
    store.leases.release(lease)
    store.close()
    assert done.returncode == 2
    assert "is being run by" in done.stderr


def test_the_cache_tells_what_lies_where_and_what_for(cli: Cli, home: Path) -> None:
    said = _said(cli("--home", home, "cache"))
    assert "spoken corpus" in said
    assert "nothing uses it" in said
    assert str(home / "work" / "train" / "0123") in said


def test_the_database_is_checked_and_copied(cli: Cli, home: Path, tmp_path: Path) -> None:
    said = _said(cli("--home", home, "db", "check"))
    assert said.splitlines()[-1] == "sound"
    assert said.startswith(f"{home}/store.sqlite: sqlite 3.")
    other = f"sqlite:///{tmp_path}/other.sqlite"
    assert "copied 1 studies" in _said(cli("--home", home, "db", "copy", other))
    fronts = [_said(cli("--home", home, *o, "front", "--json")) for o in ((), ("--store", other))]
    assert fronts[0] == fronts[1]
    again = cli("--home", home, "db", "copy", other)
    assert again.returncode == 2
    assert "holds studies already (tiny)" in again.stderr


def test_a_damaged_store_is_told_by_the_check(cli: Cli, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store.sqlite"))
    study = store.studies.create(**STUDY)
    add_trial(store, study, 1)
    store.close()
    done = cli("--home", tmp_path, "db", "check")
    assert done.returncode == 1
    assert "✗ study edge has 1 trials and the last is number 1" in done.stdout


def test_the_logs_of_a_trial_tell_its_stages(cli: Cli, home: Path) -> None:
    said = _said(cli("--home", home, "logs", 0))
    assert "── train done (" in said
    assert "── export done (" in said
    assert "epochs: 4 of 4" in said
    assert "── prepare done (" in _said(cli("--home", home, "logs", "--follow"))
    none = cli("--home", home, "logs", 99)
    assert none.returncode == 2
    assert "the study has no trial 99" in none.stderr
