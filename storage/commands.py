"""What other shells ask of a coordinator."""

from __future__ import annotations

import sqlalchemy as sa

from storage import tables as t
from storage.records import Command
from storage.rows import Table


class Commands(Table):
    """The commands of a store."""

    def add(self, study_id: int, kind: str, argument: int | None = None) -> None:
        row = {"study_id": study_id, "kind": kind, "argument": argument, "created_at": self._now()}
        with self._writing() as connection:
            connection.execute(sa.insert(t.commands).values(row))

    def take(self, study_id: int) -> list[Command]:
        """Commands not yet carried out, now marked as taken."""
        c = t.commands.c
        query = (
            sa.select(c.id, c.kind, c.argument)
            .where(c.study_id == study_id, c.done_at.is_(None))
            .order_by(c.id)
            .with_for_update(skip_locked=True)
        )
        with self._writing() as connection:
            rows = connection.execute(query).mappings().all()
            taken = [row["id"] for row in rows]
            if taken:
                connection.execute(
                    sa.update(t.commands).where(c.id.in_(taken)).values(done_at=self._now())
                )
        return [Command(**row) for row in rows]
