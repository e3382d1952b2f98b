"""A store is copied whole, from any kind of database to any that lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_rows import STUDY, add_trial

from storage import tables as t
from storage.errors import StorageError
from storage.inspection import inspected, version_before
from storage.records import StudyState, TrialState
from storage.store import Store
from storage.transfer import copied


@pytest.fixture
def target(lasting_url: str) -> Iterator[Store]:
    store = Store(lasting_url)
    yield store
    store.close()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Store]:
    """Two studies that have ended, with something in every table."""
    store = Store(str(tmp_path / "source.sqlite"))
    for name in ("edge", "other"):
        study = store.studies.create(**{**STUDY, "name": name})
        for number in range(3):
            trial = add_trial(store, study, number)
            store.trials.save(
                trial.evolve(state=TrialState.COMPLETE, metrics={"wer": 0.1 + 0.2}, finished_at=2.5)
            )
            store.stage_runs.add(
                study.id,
                trial_number=number,
                stage="train",
                key="k" * 64,
                attempt=1,
                state="done",
                started_at=1.5,
                duration_s=0.1,
                result={"kind": "train", "größe": [1, None]},
                log="語",
            )
            store.events.add(study.id, "stage", f"trial {number}", number, {"n": number})
        store.notes.add(study.id, 1, "note", "good", "me")
        store.studies.change(study.id, state=StudyState.FINISHED)
    yield store
    store.close()


def _silent(_table: str, _done: int, _of: int) -> None:
    """Nobody watches."""


def _content(store: Store) -> dict[str, list[dict[str, object]]]:
    with store.engine.connect() as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    sa.select(table).order_by(*table.primary_key)
                ).mappings()
            ]
            for table in t.metadata.sorted_tables
            if table.name not in ("leases", "commands")
        }


def test_every_row_is_there_as_it_was(source: Store, target: Store) -> None:
    counts = copied(source, target, _silent)
    assert counts["trials"] == 6
    assert counts["notes"] == 2
    assert _content(target) == _content(source)


def test_what_is_added_later_has_numbers_of_its_own(source: Store, target: Store) -> None:
    copied(source, target, _silent)
    study = target.studies.get("edge")
    add_trial(target, study, 3)
    target.events.add(study.id, "stage", "later")
    assert [trial.number for trial in target.trials.of(study.id)] == [0, 1, 2, 3]
    assert target.studies.create(**{**STUDY, "name": "third"}).id == 3


def test_a_store_that_holds_studies_is_not_written_into(source: Store, target: Store) -> None:
    target.studies.create(**STUDY)
    with pytest.raises(StorageError, match="holds studies already"):
        copied(source, target, _silent)
    assert len(target.studies.all()) == 1


def test_a_study_that_is_being_run_is_not_copied(source: Store, target: Store) -> None:
    source.studies.change(source.studies.get("edge").id, state=StudyState.RUNNING)
    with pytest.raises(StorageError, match="edge: is being run"):
        copied(source, target, _silent)
    assert target.studies.all() == []


def test_a_copy_that_fails_leaves_the_target_empty(source: Store, target: Store) -> None:
    def broken(table: str, _done: int, _of: int) -> None:
        if table == "events":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copied(source, target, broken)
    assert target.studies.all() == []
    assert copied(source, target, _silent)["studies"] == 2


def test_a_sound_store_has_no_faults(source: Store, target: Store) -> None:
    copied(source, target, _silent)
    found = inspected(target)
    assert found.faults == ()
    assert found.rows["trials"] == 6
    assert found.version == version_before(target.url)


Harm = Callable[[sa.Connection], object]


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (
            lambda c: c.execute(sa.delete(t.trials).where(t.trials.c.number == 1)),
            "study edge has 2 trials and the last is number 2",
        ),
    ],
)
def test_a_hole_in_the_numbers_is_told(
    source: Store, target: Store, harm: Harm, fault: str
) -> None:
    copied(source, target, _silent)
    with target.engine.begin() as connection:
        harm(connection)
    assert fault in inspected(target).faults


def test_a_store_that_nobody_made_has_no_tables(tmp_path: Path) -> None:
    assert version_before(f"sqlite:///{tmp_path / 'none.sqlite'}") is None
    assert not (tmp_path / "none.sqlite").exists()
