"""Finished attempts at stages."""

from __future__ import annotations

import sqlalchemy as sa

from spaces.record import JsonObject
from storage import tables as t
from storage.records import StageRun
from storage.rows import Table, storable

ALL = "all"  # stage runs of the study itself and of every trial


class StageRuns(Table):
    """The stage runs of a store."""

    def add(
        self,
        study_id: int,
        *,
        trial_number: int | None,
        stage: str,
        key: str,
        attempt: int,
        state: str,
        started_at: float,
        duration_s: float,
        result: JsonObject | None = None,
        error: str | None = None,
        log: str | None = None,
    ) -> None:
        """Record an attempt that ended."""
        row = {
            "study_id": study_id,
            "trial_number": trial_number,
            "stage": stage,
            "key": key,
            "attempt": attempt,
            "state": state,
            "started_at": started_at,
            "duration_s": duration_s,
            "result": dict(result or {}),
            "error": storable(error),
            "log": storable(log),
        }
        with self._writing() as connection:
            connection.execute(sa.insert(t.stage_runs).values(row))

    def totals(self, study_id: int) -> list[tuple[str, str, int, float]]:
        """(stage, state, attempts, their seconds), without reading what they gave back."""
        c = t.stage_runs.c
        query = (
            sa.select(c.stage, c.state, sa.func.count(), sa.func.sum(c.duration_s))
            .where(c.study_id == study_id)
            .group_by(c.stage, c.state)
        )
        with self._reader.connect() as connection:
            return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]

    def of(self, study_id: int, subject: int | str | None = ALL) -> list[StageRun]:
        """Stage runs in order: of one trial by its number, of the study itself (None), or all."""
        query = sa.select(t.stage_runs).where(t.stage_runs.c.study_id == study_id)
        if subject != ALL:
            query = query.where(t.stage_runs.c.trial_number == subject)
        with self._reader.connect() as connection:
            rows = connection.execute(query.order_by(t.stage_runs.c.id)).mappings()
            return [StageRun(**row) for row in rows]
