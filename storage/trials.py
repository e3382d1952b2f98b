"""The trials of each study, by number."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import sqlalchemy as sa

from spaces.axes import Value
from spaces.record import JsonObject
from storage import tables as t
from storage.errors import NoSuchTrial
from storage.records import Rung, Trial, TrialRow, TrialState
from storage.rows import Table, storable


class Trials(Table):
    """The trials of a store."""

    def add(
        self,
        study_id: int,
        *,
        number: int,
        values: Mapping[str, Value],
        recipe: JsonObject,
        recipe_digest: str,
        label: str,
        source: str,
        sampler_attrs: JsonObject | None = None,
    ) -> Trial:
        """A new trial, queued."""
        row = {
            "study_id": study_id,
            "number": number,
            "values": dict(values),
            "recipe": dict(recipe),
            "recipe_digest": recipe_digest,
            "label": label,
            "source": source,
            "state": TrialState.QUEUED,
            "created_at": self._now(),
            "metrics": {},
            "constraints": {},
            "sampler_attrs": dict(sampler_attrs or {}),
            "compute_s": 0.0,
            "rungs": [],
            "error_groups": None,
        }
        with self._writing() as connection:
            connection.execute(sa.insert(t.trials).values(row))
        return self.get(study_id, number)

    def of(self, study_id: int) -> list[Trial]:
        """All trials of a study, by number."""
        query = sa.select(t.trials).where(t.trials.c.study_id == study_id)
        with self._reader.connect() as connection:
            rows = connection.execute(query.order_by(t.trials.c.number)).mappings()
            return [_trial(row) for row in rows]

    def tally(self, study_id: int) -> tuple[int, int, float]:
        """How many trials there are, how many have ended, and when the last did, in seconds since
        the epoch (0 where none has): another when one was added, or has ended or ended again."""
        query = sa.select(
            sa.func.count(t.trials.c.number),
            sa.func.count(t.trials.c.finished_at),
            sa.func.coalesce(sa.func.max(t.trials.c.finished_at), 0.0),
        ).where(t.trials.c.study_id == study_id)
        with self._reader.connect() as connection:
            count, n_ended, last = connection.execute(query).one()
        return int(count), int(n_ended), float(last)

    def get(self, study_id: int, number: int) -> Trial:
        """One trial.

        Raises:
            NoSuchTrial: saying which there are.
        """
        here = t.trials.c.study_id == study_id
        query = sa.select(t.trials).where(here, t.trials.c.number == number)
        with self._reader.connect() as connection:
            row = connection.execute(query).mappings().first()
            if row is not None:
                return _trial(row)
            count = connection.scalar(sa.select(sa.func.count()).where(here))
        have = f"trials 0 to {count - 1}" if count else "no trials yet"
        raise NoSuchTrial(f"the study has no trial {number}; it has {have}")

    def save(self, trial: Trial) -> None:
        """Write back what a trial may change: state, reason, metrics, objective values."""
        values = trial.objective_values
        changes = {
            "state": trial.state,
            "reason": storable(trial.reason),
            "finished_at": trial.finished_at,
            "metrics": dict(trial.metrics),
            "objective_values": None if values is None else list(values),
            "constraints": dict(trial.constraints),
            "sampler_attrs": dict(trial.sampler_attrs),
            "compute_s": trial.compute_s,
            "rungs": [dataclasses.asdict(rung) for rung in trial.rungs],
            "error_groups": _listed(trial.error_groups),
        }
        with self._writing() as connection:
            connection.execute(sa.update(t.trials).where(t.trials.c.id == trial.id).values(changes))

    def totals(self, study_id: int) -> dict[TrialState, tuple[int, float]]:
        """How many trials are in each state, and the CPU seconds that they took."""
        c = t.trials.c
        query = (
            sa.select(c.state, sa.func.count(), sa.func.sum(c.compute_s))
            .where(c.study_id == study_id)
            .group_by(c.state)
        )
        with self._reader.connect() as connection:
            return {TrialState(row[0]): (row[1], row[2]) for row in connection.execute(query)}

    def last_open(self, study_id: int) -> int | None:
        """The number of the last trial that has not ended."""
        c = t.trials.c
        states = [str(state) for state in TrialState if not state.is_final]
        query = sa.select(sa.func.max(c.number)).where(c.study_id == study_id, c.state.in_(states))
        with self._reader.connect() as connection:
            return connection.scalar(query)

    def rows(self, study_id: int) -> list[TrialRow]:
        """Trials without what only the sampler needs, by number."""
        c = t.trials.c
        columns = [c[name] for name in TrialRow.__dataclass_fields__]
        query = sa.select(*columns).where(c.study_id == study_id).order_by(c.number)
        with self._reader.connect() as connection:
            rows = connection.execute(query).mappings()
            return [
                TrialRow(
                    **{
                        **row,
                        "state": TrialState(row["state"]),
                        "error_groups": _tuple(row["error_groups"]),
                    }
                )
                for row in rows
            ]


def _listed(numbers: tuple[int, ...] | None) -> list[int] | None:
    return None if numbers is None else list(numbers)


def _tuple(numbers: list[int] | None) -> tuple[int, ...] | None:
    return None if numbers is None else tuple(numbers)


def _trial(row: sa.RowMapping) -> Trial:
    values = row["objective_values"]
    changes = {
        "state": TrialState(row["state"]),
        "objective_values": None if values is None else tuple(values),
        "error_groups": _tuple(row["error_groups"]),
        "rungs": tuple(Rung(**{**rung, "errors": tuple(rung["errors"])}) for rung in row["rungs"]),
    }
    return Trial(**{**row, **changes})
