"""What happened to each study, in order."""

from __future__ import annotations

import sqlalchemy as sa

from spaces.record import JsonObject
from storage import tables as t
from storage.records import Event
from storage.rows import Table, storable


class Events(Table):
    """The events of a store."""

    def add(
        self,
        study_id: int,
        kind: str,
        message: str,
        trial_number: int | None = None,
        data: JsonObject | None = None,
    ) -> Event:
        at, said, content = self._now(), storable(message) or "", dict(data or {})
        row = {
            "study_id": study_id,
            "at": at,
            "kind": kind,
            "message": said,
            "trial_number": trial_number,
            "data": content,
        }
        with self._writing() as connection:
            key = connection.execute(sa.insert(t.events).values(row)).inserted_primary_key
        assert key is not None
        return Event(
            id=key[0], at=at, kind=kind, message=said, trial_number=trial_number, data=content
        )

    def of(self, study_id: int, last: int | None = None) -> list[Event]:
        """Events in order of time; only the last few where `last` is given."""
        columns = [c for c in t.events.c if c.name != "study_id"]
        query = (
            sa.select(*columns)
            .where(t.events.c.study_id == study_id)
            .order_by(t.events.c.id.desc())
            .limit(last)
        )
        with self._reader.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [Event(**row) for row in reversed(rows)]

    def since(self, study_id: int, event_id: int) -> list[Event]:
        """Those after an event, in order of time."""
        columns = [c for c in t.events.c if c.name != "study_id"]
        query = (
            sa.select(*columns)
            .where(t.events.c.study_id == study_id, t.events.c.id > event_id)
            .order_by(t.events.c.id)
        )
        with self._reader.connect() as connection:
            return [Event(**row) for row in connection.execute(query).mappings()]

    def last_id(self, study_id: int) -> int:
        """Grows with everything that happens to a study: what a page knows it by."""
        query = sa.select(sa.func.max(t.events.c.id)).where(t.events.c.study_id == study_id)
        with self._reader.connect() as connection:
            return connection.scalar(query) or 0
