"""What a store holds, and whether it is sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from storage import tables as t
from storage.database import open_database, sqlite_file, version_of
from storage.store import Store


@dataclass(frozen=True)
class Inspection:
    """`faults` in words; rows by table."""

    place: str
    kind: str
    version: str
    rows: Mapping[str, int]
    faults: tuple[str, ...]


def inspected(store: Store) -> Inspection:
    """Look at all of a store."""
    engine = store.engine
    file = sqlite_file(store.url)
    with engine.connect() as connection:
        rows = {
            table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in t.metadata.sorted_tables
        }
        faults = (*_database_faults(connection), *_orphans(connection), *_holes(connection))
    server = ".".join(map(str, engine.dialect.server_version_info or ()))
    return Inspection(
        place=str(file or engine.url.render_as_string(hide_password=True)),
        kind=f"{engine.dialect.name} {server}",
        version=version_of(engine) or "none",
        rows=rows,
        faults=faults,
    )


def version_before(url: str) -> str | None:
    """Which tables a store has before it is opened and brought up to date; None where there are
    none."""
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return None
    engine = open_database(url, upgrade=False)
    try:
        return version_of(engine)
    except sa.exc.OperationalError:  # whoever opens it says why
        return None
    finally:
        engine.dispose()


def _database_faults(connection: sa.Connection) -> Iterator[str]:
    """What SQLite finds of its own file."""
    if connection.dialect.name != "sqlite":
        return
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check(20)"):
        if line != "ok":
            yield f"the file is damaged: {line}"


def _orphans(connection: sa.Connection) -> Iterator[str]:
    """Rows of studies that are not there."""
    for table in t.metadata.sorted_tables:
        if "study_id" not in table.c:
            continue
        known = sa.select(t.studies.c.id)
        query = sa.select(sa.func.count()).where(table.c.study_id.not_in(known))
        count = connection.scalar(query.select_from(table))
        if count:
            yield f"{count} {table.name} belong to no study"


def _holes(connection: sa.Connection) -> Iterator[str]:
    """Trials are numbered from 0 on without a hole: a coordinator gives the next by their count."""
    c = t.trials.c
    query = (
        sa.select(t.studies.c.name, sa.func.count(), sa.func.max(c.number))
        .join(t.trials, c.study_id == t.studies.c.id)
        .group_by(t.studies.c.name)
    )
    for name, count, last in connection.execute(query):
        if last != count - 1:
            yield f"study {name} has {count} trials and the last is number {last}"
