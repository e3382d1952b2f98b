"""The record of every study: the only place that speaks SQL."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from storage import tables as t
from storage.database import READS, open_database
from storage.errors import NoSuchStudy, NoSuchTrial, StorageError
from storage.records import (
    Command,
    Event,
    Measurement,
    Note,
    StageRun,
    Study,
    StudyState,
    Trial,
    TrialState,
)


class Store:
    """Studies, trials, stage runs, measurements, events and commands.

    Every method is one transaction; what it returns are frozen records.

    Raises:
        StoreUnreachable: when the database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_database(url)
        self._reader = self._engine.execution_options(**{READS: True})

    def close(self) -> None:
        self._engine.dispose()

    # studies

    def create_study(
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
            "created_at": time.time(),
            "facts": {},
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.insert(t.studies).values(row))
        except sa.exc.IntegrityError as error:
            raise StorageError(f'a study named "{name}" exists already') from error
        return self.study(name)

    def studies(self) -> list[Study]:
        with self._reader.connect() as connection:
            rows = connection.execute(sa.select(t.studies).order_by(t.studies.c.id))
            return [_study(row) for row in rows]

    def find_study(self, name: str) -> Study | None:
        with self._reader.connect() as connection:
            row = connection.execute(sa.select(t.studies).where(t.studies.c.name == name)).first()
            return None if row is None else _study(row)

    def study(self, name: str) -> Study:
        """The study of that name.

        Raises:
            NoSuchStudy: naming those there are.
        """
        study = self.find_study(name)
        if study is None:
            known = [s.name for s in self.studies()]
            raise NoSuchStudy(
                f'no study "{name}" in this store; '
                + (f"it holds: {', '.join(known)}" if known else "it holds none yet")
            )
        return study

    def set_study(self, study_id: int, **changes: Any) -> None:
        """Change columns of a study: state, trials_wanted, facts, space_yaml, …"""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(t.studies).where(t.studies.c.id == study_id).values(changes)
            )

    # trials

    def add_trial(
        self,
        study_id: int,
        *,
        number: int,
        values: Mapping[str, Any],
        recipe: Mapping[str, Any],
        recipe_digest: str,
        source: str,
        sampler_attrs: Mapping[str, Any] | None = None,
    ) -> Trial:
        row = {
            "study_id": study_id,
            "number": number,
            "values": dict(values),
            "recipe": dict(recipe),
            "recipe_digest": recipe_digest,
            "source": source,
            "state": TrialState.QUEUED,
            "created_at": time.time(),
            "metrics": {},
            "constraints": {},
            "sampler_attrs": dict(sampler_attrs or {}),
            "compute_s": 0.0,
        }
        with self._engine.begin() as connection:
            connection.execute(sa.insert(t.trials).values(row))
        return self.trial(study_id, number)

    def trials(self, study_id: int) -> list[Trial]:
        """All trials of a study, by number."""
        query = sa.select(t.trials).where(t.trials.c.study_id == study_id)
        with self._reader.connect() as connection:
            return [_trial(row) for row in connection.execute(query.order_by(t.trials.c.number))]

    def trial(self, study_id: int, number: int) -> Trial:
        """One trial.

        Raises:
            NoSuchTrial: saying which there are.
        """
        query = sa.select(t.trials).where(
            t.trials.c.study_id == study_id, t.trials.c.number == number
        )
        with self._reader.connect() as connection:
            row = connection.execute(query).first()
            if row is None:
                count = connection.scalar(
                    sa.select(sa.func.count()).where(t.trials.c.study_id == study_id)
                )
                have = f"trials 0 to {count - 1}" if count else "no trials yet"
                raise NoSuchTrial(f"the study has no trial {number}; it has {have}")
            return _trial(row)

    def save_trial(self, trial: Trial) -> None:
        """Write back what a trial may change: state, reason, metrics, what was told."""
        changes = {
            "state": trial.state,
            "reason": _storable(trial.reason),
            "finished_at": trial.finished_at,
            "metrics": dict(trial.metrics),
            "told": None if trial.told is None else list(trial.told),
            "constraints": dict(trial.constraints),
            "sampler_attrs": dict(trial.sampler_attrs),
            "compute_s": trial.compute_s,
        }
        with self._engine.begin() as connection:
            connection.execute(sa.update(t.trials).where(t.trials.c.id == trial.id).values(changes))

    # stage runs

    def add_stage_run(self, study_id: int, **columns: Any) -> None:
        for name in ("error", "log"):
            columns[name] = _storable(columns.get(name))
        with self._engine.begin() as connection:
            connection.execute(
                sa.insert(t.stage_runs).values({"study_id": study_id, "result": {}, **columns})
            )

    def stage_runs(self, study_id: int, trial_number: int | None = -1) -> list[StageRun]:
        """Stage runs in order; of one trial, of the study itself (None), or all (-1)."""
        query = sa.select(t.stage_runs).where(t.stage_runs.c.study_id == study_id)
        if trial_number != -1:
            query = query.where(t.stage_runs.c.trial_number == trial_number)
        with self._reader.connect() as connection:
            rows = connection.execute(query.order_by(t.stage_runs.c.id))
            return [StageRun(**row._mapping) for row in rows]

    # measurements

    def save_measurements(self, study_id: int, measurements: Iterable[Measurement]) -> None:
        """Write measurements; one of the same subject, target and metric is replaced."""
        with self._engine.begin() as connection:
            for m in measurements:
                connection.execute(
                    sa.delete(t.measurements).where(
                        t.measurements.c.study_id == study_id,
                        t.measurements.c.subject == m.subject,
                        t.measurements.c.target == m.target,
                        t.measurements.c.metric == m.metric,
                    )
                )
                connection.execute(
                    sa.insert(t.measurements).values(
                        study_id=study_id,
                        subject=m.subject,
                        target=m.target,
                        metric=m.metric,
                        value=m.value,
                        samples=None if m.samples is None else list(m.samples),
                    )
                )

    def measurements(self, study_id: int, subject: str | None = None) -> list[Measurement]:
        query = sa.select(t.measurements).where(t.measurements.c.study_id == study_id)
        if subject is not None:
            query = query.where(t.measurements.c.subject == subject)
        with self._reader.connect() as connection:
            rows = connection.execute(query.order_by(t.measurements.c.id)).all()
        return [
            Measurement(
                subject=row.subject,
                target=row.target,
                metric=row.metric,
                value=row.value,
                samples=None if row.samples is None else tuple(row.samples),
            )
            for row in rows
        ]

    # events and commands

    def add_event(
        self,
        study_id: int,
        kind: str,
        message: str,
        trial_number: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Event:
        row = {
            "at": time.time(),
            "kind": kind,
            "message": _storable(message),
            "trial_number": trial_number,
            "data": dict(data or {}),
        }
        with self._engine.begin() as connection:
            result = connection.execute(sa.insert(t.events).values(study_id=study_id, **row))
            key = result.inserted_primary_key
        assert key is not None
        return Event(id=key[0], **row)  # type: ignore[arg-type]

    def events(self, study_id: int, last: int | None = None) -> list[Event]:
        """Events in order of time; only the last few where `last` is given."""
        query = (
            sa.select(t.events)
            .where(t.events.c.study_id == study_id)
            .order_by(t.events.c.id.desc())
            .limit(last)
        )
        with self._reader.connect() as connection:
            rows = connection.execute(query).all()
        return [
            Event(
                id=row.id,
                at=row.at,
                kind=row.kind,
                message=row.message,
                trial_number=row.trial_number,
                data=row.data,
            )
            for row in reversed(rows)
        ]

    def add_command(self, study_id: int, kind: str, argument: int | None = None) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                sa.insert(t.commands).values(
                    study_id=study_id, kind=kind, argument=argument, created_at=time.time()
                )
            )

    def take_commands(self, study_id: int) -> list[Command]:
        """Commands not yet carried out, now marked as taken."""
        open_ones = (t.commands.c.study_id == study_id) & t.commands.c.done_at.is_(None)
        with self._engine.begin() as connection:
            rows = connection.execute(
                sa.select(t.commands)
                .where(open_ones)
                .order_by(t.commands.c.id)
                .with_for_update(skip_locked=True)
            ).all()
            if rows:
                connection.execute(
                    sa.update(t.commands)
                    .where(t.commands.c.id.in_([row.id for row in rows]))
                    .values(done_at=time.time())
                )
        return [Command(id=row.id, kind=row.kind, argument=row.argument) for row in rows]

    # for pages

    def last_event_id(self, study_id: int) -> int:
        """Grows with everything that happens to a study: what a page knows it by."""
        query = sa.select(sa.func.max(t.events.c.id)).where(t.events.c.study_id == study_id)
        with self._reader.connect() as connection:
            return connection.scalar(query) or 0

    def trial_rows(self, study_id: int) -> list[dict[str, Any]]:
        """Trials without what only the sampler needs, by number: light enough for thousands."""
        c = t.trials.c
        columns = (
            c.number,
            c.state,
            c.source,
            c["values"],
            c.metrics,
            c.created_at,
            c.finished_at,
            c.compute_s,
            c.reason,
        )
        query = sa.select(*columns).where(c.study_id == study_id).order_by(c.number)
        names = [column.name for column in columns]
        with self._reader.connect() as connection:
            return [dict(zip(names, row, strict=True)) for row in connection.execute(query)]

    def add_note(
        self, study_id: int, trial_number: int | None, kind: str, text: str, author: str
    ) -> None:
        row = {
            "study_id": study_id,
            "trial_number": trial_number,
            "kind": kind,
            "text": _storable(text),
            "author": _storable(author[:128]),
            "at": time.time(),
        }
        with self._engine.begin() as connection:
            connection.execute(sa.insert(t.notes).values(row))

    def drop_note(self, study_id: int, note_id: int) -> None:
        here = (t.notes.c.study_id == study_id) & (t.notes.c.id == note_id)
        with self._engine.begin() as connection:
            connection.execute(sa.delete(t.notes).where(here))

    def notes(self, study_id: int) -> list[Note]:
        """Notes and tags of a study and its trials, oldest first."""
        columns = [c for c in t.notes.c if c.name != "study_id"]
        query = sa.select(*columns).where(t.notes.c.study_id == study_id).order_by(t.notes.c.id)
        with self._reader.connect() as connection:
            return [Note(**row._mapping) for row in connection.execute(query)]


def _storable(text: str | None) -> str | None:
    """What a process printed may hold a NUL, which PostgreSQL takes in no text."""
    return None if text is None else text.replace("\0", "�")


def _study(row: sa.Row[Any]) -> Study:
    return Study(**{**row._mapping, "state": StudyState(row.state)})


def _trial(row: sa.Row[Any]) -> Trial:
    told = None if row.told is None else tuple(row.told)
    # `values` is also a method of Row, so columns are read from the mapping.
    return Trial(**{**row._mapping, "state": TrialState(row.state), "told": told})
