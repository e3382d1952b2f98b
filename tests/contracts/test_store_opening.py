"""A store is opened, by one or by many at once, or what is in the way is said."""

from __future__ import annotations

import gc
import multiprocessing
import re
import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from child_entries import open_and_add
from store_rows import STUDY, add_trial

from storage import tables
from storage.database import open_database
from storage.errors import StoreUnreachable
from storage.memory import memory_store
from storage.records import TrialState
from storage.store import Store


def test_the_migrations_lead_to_the_tables_as_they_are_written(url: str) -> None:
    engine = open_database(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        difference = compare_metadata(context, tables.metadata)
    engine.dispose()
    assert difference == []


def test_a_difference_between_tables_and_migrations_would_be_seen(url: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE studies ADD COLUMN extra INTEGER"))
        context = MigrationContext.configure(connection)
        difference = compare_metadata(context, tables.metadata)
    engine.dispose()
    assert [change[0] for change in difference] == ["remove_column"]


def test_a_store_is_opened_again_with_all_it_holds(lasting_url: str) -> None:
    first = Store(lasting_url)
    study = first.studies.create(**STUDY)
    add_trial(first, study)
    first.close()
    second = Store(lasting_url)
    assert second.studies.all() == [study]
    assert [t.number for t in second.trials.of(study.id)] == [0]
    second.close()


def test_threads_that_open_a_new_database_at_once_all_find_it_ready(lasting_url: str) -> None:
    n_threads = 6
    together = Barrier(n_threads)

    def open_and_add(number: int) -> list[str]:
        together.wait()
        store = Store(lasting_url)
        store.studies.create(**{**STUDY, "name": f"study-{number}"})
        names = [s.name for s in store.studies.all()]
        store.close()
        return names

    with ThreadPoolExecutor(n_threads) as pool:
        seen = list(pool.map(open_and_add, range(n_threads)))
    assert all(f"study-{i}" in names for i, names in enumerate(seen))
    store = Store(lasting_url)
    assert {s.name for s in store.studies.all()} == {f"study-{i}" for i in range(n_threads)}
    store.close()


def test_processes_that_open_a_new_database_at_once_all_find_it_ready(lasting_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        ids = list(pool.map(open_and_add, [lasting_url] * 3, [STUDY] * 3, range(3)))
    assert len(set(ids)) == 3


def test_a_new_sqlite_file_that_another_is_about_to_write_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(Store, f"sqlite:///{path}")
        wait([opened], timeout=0.5)  # long enough for it to meet the lock
        other.execute("COMMIT")
        store = opened.result()
    assert store.studies.all() == []
    store.close()
    other.close()


def test_two_stores_on_one_database_see_each_other(lasting_url: str) -> None:
    one, other = Store(lasting_url), Store(lasting_url)
    study = one.studies.create(**STUDY)
    assert other.studies.get("edge") == study
    trial = add_trial(other, study)
    one.trials.save(trial.evolve(state=TrialState.RUNNING))
    assert other.trials.get(study.id, 0).state is TrialState.RUNNING
    one.commands.add(study.id, "stop")
    assert [c.kind for c in other.commands.take(study.id)] == ["stop"]
    assert one.commands.take(study.id) == []
    one.close()
    other.close()


def test_tables_of_a_newer_version_are_left_alone(lasting_url: str) -> None:
    engine = open_database(lasting_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreUnreachable) as caught:
        Store(lasting_url)
    assert str(caught.value) == (
        "the store was written by a newer version (its tables are 9999); update this"
    )
    del caught
    gc.collect()  # a connection left open says so when it is collected, and fails this test


# in memory


def test_a_store_in_memory_is_one_alone_and_gone_with_it() -> None:
    one, other = memory_store(), memory_store()
    one.studies.create(**STUDY)
    assert other.studies.all() == []
    assert [s.name for s in one.studies.all()] == ["edge"]
    one.close()
    again = memory_store()
    assert again.studies.all() == []
    again.close()
    other.close()


def test_a_store_in_memory_is_the_same_for_every_thread_that_holds_it() -> None:
    store = memory_store()
    study = store.studies.create(**STUDY)
    n_threads = 6
    together = Barrier(n_threads)

    def add(number: int) -> int:
        together.wait()
        return add_trial(store, study, number).number

    with ThreadPoolExecutor(n_threads) as pool:
        assert list(pool.map(add, range(n_threads))) == list(range(n_threads))
    assert [t.number for t in store.trials.of(study.id)] == list(range(n_threads))
    store.close()


# what cannot be opened


def _unreachable(url: str) -> str:
    with pytest.raises(StoreUnreachable) as caught:
        Store(url)
    return str(caught.value)


def test_what_is_no_database_url_is_refused_with_an_example() -> None:
    assert _unreachable("store.sqlite") == (
        '"store.sqlite" is not a database URL; write sqlite:///path/store.sqlite or '
        "postgresql://user@host/name"
    )
    assert _unreachable("mysql://host/name") == "mysql: the store is SQLite or PostgreSQL"


def test_a_port_that_is_no_number_makes_no_database_url() -> None:
    assert "is not a database URL" in _unreachable("postgresql://user@host:port/name")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_text("no database at all\n" * 100)
    said = _unreachable(f"sqlite:///{path}")
    assert said == f"the store sqlite:///{path} cannot be opened: file is not a database"
    assert path.read_text() == "no database at all\n" * 100


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    url = f"sqlite:///{tmp_path}/file/store.sqlite"
    assert re.fullmatch(
        re.escape(f"the store {url} cannot be opened: ") + r".*(exists|Not a directory).*",
        _unreachable(url),
    )


def test_a_server_that_does_not_answer_is_named_without_the_password(tmp_path: Path) -> None:
    said = _unreachable(f"postgresql://me:hunter2@/name?host={tmp_path}")
    assert said.startswith("the store postgresql+psycopg://me:***@/name")
    assert "cannot be opened: " in said
    assert "hunter2" not in said
    assert "\n" not in said
