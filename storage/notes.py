"""What people wrote of studies and trials."""

from __future__ import annotations

import sqlalchemy as sa

from storage import tables as t
from storage.records import Note
from storage.rows import Table, storable


class Notes(Table):
    """The notes and tags of a store."""

    def add(
        self, study_id: int, trial_number: int | None, kind: str, text: str, author: str
    ) -> None:
        row = {
            "study_id": study_id,
            "trial_number": trial_number,
            "kind": kind,
            "text": storable(text),
            "author": storable(author[:128]),
            "at": self._now(),
        }
        with self._writing() as connection:
            connection.execute(sa.insert(t.notes).values(row))

    def drop(self, study_id: int, note_id: int) -> None:
        here = (t.notes.c.study_id == study_id) & (t.notes.c.id == note_id)
        with self._writing() as connection:
            connection.execute(sa.delete(t.notes).where(here))

    def of(self, study_id: int) -> list[Note]:
        """Notes and tags of a study and its trials, oldest first."""
        columns = [c for c in t.notes.c if c.name != "study_id"]
        query = sa.select(*columns).where(t.notes.c.study_id == study_id).order_by(t.notes.c.id)
        with self._reader.connect() as connection:
            return [Note(**row) for row in connection.execute(query).mappings()]
