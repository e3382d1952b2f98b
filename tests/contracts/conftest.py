"""A new database for every test: SQLite, PostgreSQL, and one in memory that a store has alone."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from store_rows import STUDY

from storage.memory import IN_MEMORY
from storage.records import Study
from storage.store import Store

sys.path.insert(0, str(Path(__file__).parent))  # child_entries.py, also for child processes


def _sqlite(_request: pytest.FixtureRequest, folder: Path) -> str:
    return f"sqlite:///{folder / 'new folder' / 'store.sqlite'}"


def _postgresql(request: pytest.FixtureRequest, _folder: Path) -> str:
    folder = request.getfixturevalue("postgresql")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"user=postgres host={folder}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    return f"postgresql://postgres@/{name}?host={folder}"


def _memory(_request: pytest.FixtureRequest, _folder: Path) -> str:
    return IN_MEMORY


_LASTING: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
}
_DATABASES = {**_LASTING, "memory": _memory}


@pytest.fixture(params=_DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a database is that nobody has opened yet."""
    return _DATABASES[request.param](request, tmp_path)


@pytest.fixture(params=_LASTING)
def lasting_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a database is that many may open, at once or one after another."""
    return _LASTING[request.param](request, tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def study(store: Store) -> Study:
    return store.studies.create(**STUDY)
