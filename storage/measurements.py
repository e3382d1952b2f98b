"""Measured figures with their raw samples."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from storage import tables as t
from storage.records import Measurement
from storage.rows import Table


class Measurements(Table):
    """The measurements of a store."""

    def save(self, study_id: int, measurements: Iterable[Measurement]) -> None:
        """Write measurements; one of the same subject, target and metric is replaced."""
        c = t.measurements.c
        with self._writing() as connection:
            for m in measurements:
                connection.execute(
                    sa.delete(t.measurements).where(
                        c.study_id == study_id,
                        c.subject == m.subject,
                        c.target == m.target,
                        c.metric == m.metric,
                    )
                )
                samples = None if m.samples is None else list(m.samples)
                row = {
                    "study_id": study_id,
                    "subject": m.subject,
                    "target": m.target,
                    "metric": m.metric,
                    "value": m.value,
                    "samples": samples,
                }
                connection.execute(sa.insert(t.measurements).values(row))

    def of(self, study_id: int, subject: str | None = None) -> list[Measurement]:
        """Measurements of a study, or of one subject of it."""
        columns = [c for c in t.measurements.c if c.name not in ("id", "study_id")]
        query = sa.select(*columns).where(t.measurements.c.study_id == study_id)
        if subject is not None:
            query = query.where(t.measurements.c.subject == subject)
        with self._reader.connect() as connection:
            rows = connection.execute(query.order_by(t.measurements.c.id)).mappings().all()
        return [_measurement(row) for row in rows]


def _measurement(row: sa.RowMapping) -> Measurement:
    samples = row["samples"]
    return Measurement(**{**row, "samples": None if samples is None else tuple(samples)})
