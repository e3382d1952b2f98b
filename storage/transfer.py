"""Copies a whole store into an empty one, of the same kind or the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import sqlalchemy as sa

from storage import tables as t
from storage.errors import StorageError
from storage.store import Store

_AT_ONCE = 500  # rows
_LIVE_ONLY = ("leases", "commands")  # of coordinators that run: of no use elsewhere

Progress = Callable[[str, int, int], None]  # (table, done, of)


def copied(source: Store, target: Store, progress: Progress) -> Mapping[str, int]:
    """Copy all studies with what belongs to them, in one transaction; gives the rows by table.

    Raises:
        StorageError: when the target holds studies already, or one of the source is being run.
    """
    held = [study.name for study in target.studies.all()]
    if held:
        raise StorageError(
            f"the target holds studies already ({', '.join(held[:5])}); copy into an empty store"
        )
    live = [study.name for study in source.studies.all() if study.state.is_live]
    if live:
        raise StorageError(
            f"{', '.join(live)}: is being run, or was until it was killed; end it with `search "
            "stop`, or by its `search launch` and Ctrl-C, then copy"
        )
    tables = [table for table in t.metadata.sorted_tables if table.name not in _LIVE_ONLY]
    with source.engine.connect() as read, target.engine.begin() as written:
        counts = {table.name: _copy(read, written, table, progress) for table in tables}
        _go_on_numbering(written, tables)
    return counts


def _copy(read: sa.Connection, written: sa.Connection, table: sa.Table, progress: Progress) -> int:
    total = read.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    done = 0
    for rows in _pages(read, table):
        written.execute(sa.insert(table), rows)
        done += len(rows)
        progress(table.name, done, total)
    return done


def _pages(read: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, object]]]:
    """By the numbers of rows, so that no more than a page is held."""
    last = -1
    while True:
        query = sa.select(table).where(table.c.id > last).order_by(table.c.id).limit(_AT_ONCE)
        rows = [dict(row) for row in read.execute(query).mappings()]
        if not rows:
            return
        last = int(rows[-1]["id"])  # type: ignore[call-overload]
        yield rows


def _go_on_numbering(written: sa.Connection, tables: list[sa.Table]) -> None:
    """PostgreSQL counts on its own, and was not told of the numbers that were given."""
    if written.dialect.name != "postgresql":
        return
    for table in tables:
        most = sa.select(sa.func.max(table.c.id)).scalar_subquery()
        sequence = sa.func.pg_get_serial_sequence(table.name, "id")
        written.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(most, 1))))
