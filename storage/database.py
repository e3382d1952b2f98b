"""Opens the database and brings its tables up to date."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.exc import SQLAlchemyError

from storage.errors import StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

MIGRATIONS_FOLDER = Path(__file__).parent / "migrations"
READS = "search_reads_only"  # execution option of connections that do not write
_IN_MEMORY = (None, "", ":memory:")
WAIT_S = 60.0
_ADVISORY_LOCK = 7_305_461_001


class _Pool(TypedDict, total=False):
    connect_args: dict[str, object]
    poolclass: type[sa.Pool]
    pool_size: int
    max_overflow: int
    pool_timeout: float


def open_database(url: str, wait_s: float = WAIT_S, *, upgrade: bool = True) -> sa.Engine:
    """An engine on an up-to-date database: SQLite in WAL mode, or PostgreSQL.

    Args:
        wait_s: for a lock that another process holds on SQLite.
        upgrade: bring its tables up to date; else they stay what they are.

    Raises:
        StoreUnreachable: with the reason, the password left out.
    """
    try:
        parsed = sa.URL.create("sqlite", database=url) if _is_path(url) else sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        shown = (
            url if "@" not in url else f"…@{url.rpartition('@')[2].partition('?')[0]}"
        )  # no password is shown
        raise StoreUnreachable(
            f'"{shown}" is not a database URL; write sqlite:///path/store.sqlite or '
            "postgresql://user@host/name"
        ) from error
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    elif parsed.get_backend_name() != "sqlite":
        raise StoreUnreachable(f"{parsed.get_backend_name()}: the store is SQLite or PostgreSQL")
    try:
        engine = (
            _sqlite(parsed, wait_s)
            if parsed.get_backend_name() == "sqlite"
            else _postgresql(parsed)
        )
        if upgrade:
            _brought_up_to_date(engine)
    except (SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        shown = parsed.set(query={}).render_as_string(hide_password=True)
        hint = "" if parsed.get_backend_name() == "sqlite" else "; is the server running?"
        raise StoreUnreachable(f"the store {shown} cannot be opened: {reason}{hint}") from error
    except ModuleNotFoundError as error:
        raise StoreUnreachable(
            'PostgreSQL needs the extra: pip install "compression-search[postgresql]"'
        ) from error
    return engine


def _is_path(url: str) -> bool:
    """A URL cannot hold every path: `?` and `%` mean something there."""
    return Path(url).is_absolute()


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite store; None for what is not one, or is no URL at all."""
    if _is_path(url):
        return Path(url)
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return None
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in _IN_MEMORY
    return Path(parsed.database or "") if is_file else None


def shown_url(url: str) -> str:
    """Which database it is, without its password."""
    file = sqlite_file(url)
    if file is not None:
        return str(file)
    return sa.make_url(url).set(query={}).render_as_string(hide_password=True)


def _sqlite(url: sa.URL, wait_s: float) -> sa.Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, **_pool(url, wait_s))

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, below
        cursor = connection.cursor()
        _set_wal(cursor, wait_s)
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A deferred transaction that turns to writing can fail as busy without waiting; one that
        # only reads needs no lock and never waits for a writer.
        reads = connection.get_execution_options().get(READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _pool(url: sa.URL, wait_s: float) -> _Pool:
    """A database in memory is its one connection, which threads take in turn."""
    if url.database not in _IN_MEMORY:
        return {"connect_args": {"timeout": wait_s}}
    return {
        "connect_args": {"check_same_thread": False},
        "poolclass": sa.pool.QueuePool,
        "pool_size": 1,
        "max_overflow": 0,
        "pool_timeout": wait_s,
    }


def _set_wal(cursor: sqlite3.Cursor, wait_s: float) -> None:
    """Turning a new file to WAL does not wait for another that is about to write it: we do."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _postgresql(url: sa.URL) -> sa.Engine:
    return sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})


def _brought_up_to_date(engine: sa.Engine) -> None:
    try:
        _migrate(engine)
    except BaseException:
        engine.dispose()
        raise


def _migrate(engine: sa.Engine) -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(MIGRATIONS_FOLDER))
    head = script.get_current_head()
    if version_of(engine) == head:
        return
    with _one_at_a_time(engine):
        current = version_of(engine)
        if current == head:
            return
        known = {revision.revision for revision in script.walk_revisions()}
        if current is not None and current not in known:
            raise StoreUnreachable(
                f"the store was written by a newer version (its tables are {current}); update this"
            )
        _upgrade(engine)


def version_of(engine: sa.Engine) -> str | None:
    """Which tables a database has; None for none."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.scalar(sa.text("SELECT version_num FROM alembic_version"))


def _upgrade(engine: sa.Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_FOLDER).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _one_at_a_time(engine: sa.Engine) -> Iterator[None]:
    database = engine.url.database
    if engine.dialect.name == "sqlite":
        with FileLock(f"{database}.lock") if database not in _IN_MEMORY else nullcontext():
            yield
        return
    with engine.connect() as connection:
        connection.execute(sa.text(f"SELECT pg_advisory_lock({_ADVISORY_LOCK})"))
        try:
            yield
        finally:
            connection.execute(sa.text(f"SELECT pg_advisory_unlock({_ADVISORY_LOCK})"))
