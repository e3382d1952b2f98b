"""Studies by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Unpack

import sqlalchemy as sa

from storage import tables as t
from storage.errors import NoSuchStudy, StorageError
from storage.records import Focus, Study, StudyChanges, StudyState
from storage.rows import Table


class Studies(Table):
    """The studies of a store."""

    def create(
        self,
        *,
        name: str,
        space_yaml: str,
        space_path: str,
        space_digest: str,
        seed: int,
        deterministic: bool,
        trials_wanted: int,
    ) -> Study:
        """A new study in state running.

        Raises:
            StorageError: when the name is taken.
        """
        row = {
            "name": name,
            "space_yaml": space_yaml,
            "space_path": space_path,
            "space_digest": space_digest,
            "seed": seed,
            "deterministic": deterministic,
            "state": StudyState.RUNNING,
            "trials_wanted": trials_wanted,
            "created_at": self._now(),
            "elapsed_s": 0.0,
            "teacher_metrics": {},
            "baseline_metrics": {},
            "added_targets": {},
            "focuses": [],
        }
        try:
            with self._writing() as connection:
                connection.execute(sa.insert(t.studies).values(row))
        except sa.exc.IntegrityError as error:
            raise StorageError(f'a study named "{name}" exists already') from error
        return self.get(name)

    def all(self) -> list[Study]:
        """Every study, oldest first."""
        with self._reader.connect() as connection:
            rows = connection.execute(sa.select(t.studies).order_by(t.studies.c.id)).mappings()
            return [_study(row) for row in rows]

    def find(self, name: str) -> Study | None:
        with self._reader.connect() as connection:
            query = sa.select(t.studies).where(t.studies.c.name == name)
            row = connection.execute(query).mappings().first()
            return None if row is None else _study(row)

    def get(self, name: str) -> Study:
        """The study of that name.

        Raises:
            NoSuchStudy: naming those there are.
        """
        study = self.find(name)
        if study is None:
            known = [s.name for s in self.all()]
            raise NoSuchStudy(
                f'no study "{name}" in this store; '
                + (f"it holds: {', '.join(known)}" if known else "it holds none yet")
            )
        return study

    def change(self, study_id: int, **changes: Unpack[StudyChanges]) -> None:
        """Change columns of a study."""
        values: dict[str, object] = {**changes}
        if "focuses" in changes:
            values["focuses"] = [asdict(focus) for focus in changes["focuses"]]
        with self._writing() as connection:
            connection.execute(
                sa.update(t.studies).where(t.studies.c.id == study_id).values(values)
            )

    def extend(self, study_id: int, more: int, towards: Mapping[str, str] | None = None) -> int:
        """Add to the trials wanted and return the sum; one transaction, so that two who extend
        both count.

        Args:
            towards: limits that the added trials are to lie within, by metric.
        """
        c = t.studies.c
        query = (
            sa.update(t.studies)
            .where(c.id == study_id)
            .values(trials_wanted=c.trials_wanted + more)
            .returning(c.trials_wanted)
        )
        with self._writing() as connection:
            wanted = int(connection.execute(query).scalar_one())  # the row is ours from here on
            if towards:
                given = connection.scalar(sa.select(c.focuses).where(c.id == study_id)) or []
                focus = asdict(Focus(wanted - more, more, dict(towards)))
                changed = sa.update(t.studies).where(c.id == study_id)
                connection.execute(changed.values(focuses=[*given, focus]))
        return wanted


def _study(row: sa.RowMapping) -> Study:
    focuses = tuple(Focus(**focus) for focus in row["focuses"])
    return Study(**{**row, "state": StudyState(row["state"]), "focuses": focuses})
