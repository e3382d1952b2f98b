"""A database that is locked or away for a while loses nothing; one that stays so is a sentence."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest
from store_rows import STUDY

from storage.errors import StoreUnreachable
from storage.rows import Patience
from storage.store import Store

SHORT = Patience(longest_s=0.3, first_wait_s=0.05, longest_wait_s=0.1)


def _locked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_a_sqlite_file_that_stays_locked_is_said_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(f"sqlite:///{path}", patience=SHORT)
    study = store.studies.create(**STUDY)
    locked = _locked(path)
    with pytest.raises(
        StoreUnreachable, match=r"does not answer \(database is locked\), tried for"
    ):
        store.events.add(study.id, "trial", "while it is locked")
    assert store.studies.get(study.name) == study  # reading waits for no writer
    locked.close(), store.close()


def test_a_sqlite_file_that_is_locked_for_a_while_is_written_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    patience = Patience(longest_s=30.0, first_wait_s=0.05, longest_wait_s=0.1)
    store = Store(f"sqlite:///{path}", patience=patience)
    study = store.studies.create(**STUDY)
    locked = _locked(path)
    threading.Timer(1.0, locked.close).start()
    store.events.add(study.id, "trial", "after it")
    assert [e.message for e in store.events.of(study.id)] == ["after it"]
    store.close()


def test_a_postgresql_server_that_ends_every_connection_is_written_all_the_same(
    request: pytest.FixtureRequest,
) -> None:
    folder = request.getfixturevalue("postgresql")
    with psycopg.connect(f"user=postgres host={folder}", autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS outage")
        admin.execute("CREATE DATABASE outage STRATEGY file_copy")
        store = Store(f"postgresql://postgres@/outage?host={folder}")
        study = store.studies.create(**STUDY)
        for number in range(5):
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'outage'"
            )
            store.events.add(study.id, "trial", str(number))
        assert [e.message for e in store.events.of(study.id)] == list("01234")
        store.close()
        admin.execute("DROP DATABASE outage WITH (FORCE)")
