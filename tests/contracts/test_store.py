"""What a store keeps, it gives back: over SQLite, over PostgreSQL and in memory alike."""

from __future__ import annotations

import dataclasses
import gc
import math
import multiprocessing
import re
import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from child_entries import open_and_add

from storage import tables
from storage.database import open_database
from storage.errors import NoSuchStudy, NoSuchTrial, StorageError, StoreUnreachable
from storage.memory import memory_store
from storage.records import Measurement, StageRun, Study, StudyState, Trial, TrialState
from storage.stage_runs import ALL
from storage.store import Store

STUDY: dict[str, Any] = {
    "name": "edge",
    "space_yaml": "name: edge\n# größe, 語\n",
    "space_path": "/spaces/edge.yaml",
    "space_digest": "d" * 64,
    "seed": 7,
    "deterministic": True,
    "trials_wanted": 24,
}
VALUES = {"family": "conformer", "conformer.channels": 96, "distil.weight": 0.1 + 0.2}
RECIPE = {"student": {"family": "conformer", "channels": 96}, "losses": [{"name": "größe ▁"}]}


@pytest.fixture
def study(store: Store) -> Study:
    return store.studies.create(**STUDY)


def _add_trial(store: Store, study: Study, number: int = 0, **columns: Any) -> Trial:
    given: dict[str, Any] = {
        "values": VALUES,
        "recipe": RECIPE,
        "recipe_digest": f"{number:064x}",
        "label": "größe ▁",
        "source": "sampler",
    }
    return store.trials.add(study.id, number=number, **{**given, **columns})


# opening


def test_the_migrations_lead_to_the_tables_as_they_are_written(url: str) -> None:
    engine = open_database(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        difference = compare_metadata(context, tables.metadata)
    engine.dispose()
    assert difference == []


def test_a_difference_between_tables_and_migrations_would_be_seen(url: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE studies ADD COLUMN extra INTEGER"))
        context = MigrationContext.configure(connection)
        difference = compare_metadata(context, tables.metadata)
    engine.dispose()
    assert [change[0] for change in difference] == ["remove_column"]


def test_a_store_is_opened_again_with_all_it_holds(lasting_url: str) -> None:
    first = Store(lasting_url)
    study = first.studies.create(**STUDY)
    _add_trial(first, study)
    first.close()
    second = Store(lasting_url)
    assert second.studies.all() == [study]
    assert [t.number for t in second.trials.of(study.id)] == [0]
    second.close()


def test_threads_that_open_a_new_database_at_once_all_find_it_ready(lasting_url: str) -> None:
    n_threads = 6
    together = Barrier(n_threads)

    def open_and_add(number: int) -> list[str]:
        together.wait()
        store = Store(lasting_url)
        store.studies.create(**{**STUDY, "name": f"study-{number}"})
        names = [s.name for s in store.studies.all()]
        store.close()
        return names

    with ThreadPoolExecutor(n_threads) as pool:
        seen = list(pool.map(open_and_add, range(n_threads)))
    assert all(f"study-{i}" in names for i, names in enumerate(seen))
    store = Store(lasting_url)
    assert {s.name for s in store.studies.all()} == {f"study-{i}" for i in range(n_threads)}
    store.close()


def test_processes_that_open_a_new_database_at_once_all_find_it_ready(lasting_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        ids = list(pool.map(open_and_add, [lasting_url] * 3, [STUDY] * 3, range(3)))
    assert len(set(ids)) == 3


def test_a_new_sqlite_file_that_another_is_about_to_write_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(Store, f"sqlite:///{path}")
        wait([opened], timeout=0.5)  # long enough for it to meet the lock
        other.execute("COMMIT")
        store = opened.result()
    assert store.studies.all() == []
    store.close()
    other.close()


def test_two_stores_on_one_database_see_each_other(lasting_url: str) -> None:
    one, other = Store(lasting_url), Store(lasting_url)
    study = one.studies.create(**STUDY)
    assert other.studies.get("edge") == study
    trial = _add_trial(other, study)
    one.trials.save(trial.evolve(state=TrialState.RUNNING))
    assert other.trials.get(study.id, 0).state is TrialState.RUNNING
    one.commands.add(study.id, "stop")
    assert [c.kind for c in other.commands.take(study.id)] == ["stop"]
    assert one.commands.take(study.id) == []
    one.close()
    other.close()


def test_tables_of_a_newer_version_are_left_alone(lasting_url: str) -> None:
    engine = open_database(lasting_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreUnreachable) as caught:
        Store(lasting_url)
    assert str(caught.value) == (
        "the store was written by a newer version (its tables are 9999); update this"
    )
    del caught
    gc.collect()  # a connection left open says so when it is collected, and fails this test


# studies


def test_a_new_study_is_what_was_asked_for(store: Store) -> None:
    study = store.studies.create(**STUDY)
    assert dataclasses.asdict(study) == {
        **STUDY,
        "id": study.id,
        "state": StudyState.RUNNING,
        "created_at": study.created_at,
        "elapsed_s": 0.0,
        "corpus": None,
        "threads": None,
        "teacher_threads": None,
        "imported": None,
        "teacher_metrics": {},
        "baseline_metrics": {},
        "live": None,
    }
    assert type(study.state) is StudyState
    assert study.deterministic is True
    assert math.isfinite(study.created_at)


def test_a_study_is_found_by_name(store: Store, study: Study) -> None:
    assert store.studies.get("edge") == store.studies.find("edge") == study
    assert store.studies.find("edg") is None


def test_studies_are_listed_in_the_order_they_were_made(store: Store) -> None:
    assert store.studies.all() == []
    made = [store.studies.create(**{**STUDY, "name": name}) for name in ("b", "a", "c")]
    assert store.studies.all() == made


def test_an_unknown_study_is_answered_with_those_there_are(store: Store) -> None:
    with pytest.raises(NoSuchStudy) as caught:
        store.studies.get("edge")
    assert str(caught.value) == 'no study "edge" in this store; it holds none yet'
    for name in ("one", "two"):
        store.studies.create(**{**STUDY, "name": name})
    with pytest.raises(NoSuchStudy) as caught:
        store.studies.get("edge")
    assert str(caught.value) == 'no study "edge" in this store; it holds: one, two'


def test_a_name_is_given_once(store: Store, study: Study) -> None:
    with pytest.raises(StorageError) as caught:
        store.studies.create(**{**STUDY, "seed": 8})
    assert str(caught.value) == 'a study named "edge" exists already'
    assert store.studies.all() == [study]


def test_a_study_is_changed_by_column_and_others_are_not(store: Store, study: Study) -> None:
    other = store.studies.create(**{**STUDY, "name": "other"})
    changes: dict[str, Any] = {
        "state": StudyState.PAUSED,
        "trials_wanted": 30,
        "elapsed_s": 0.1 + 0.2,
        "corpus": "abc",
        "threads": 2,
        "teacher_threads": 4,
        "imported": {"model": "d" * 64},
        "teacher_metrics": {"wer": 0.1 + 0.2, "latency_p95_ms@pi-5": 1e-9},
        "baseline_metrics": {"size_mb": 9.5},
        "live": {"nested": {"list": [1, 2.5, None, "größe"]}},
    }
    store.studies.change(study.id, **changes)
    changed = dataclasses.replace(study, **changes)
    assert store.studies.get("edge") == changed
    assert store.studies.get("other") == other


@pytest.mark.parametrize("state", StudyState)
def test_every_state_of_a_study_is_kept(store: Store, study: Study, state: StudyState) -> None:
    store.studies.change(study.id, state=state)
    assert store.studies.get("edge").state is state


# trials


def test_a_new_trial_is_queued_and_holds_what_it_was_given(store: Store, study: Study) -> None:
    attrs = {"nsga2:generation": 1, "parents": [1, 2]}
    trial = _add_trial(store, study, sampler_attrs=attrs)
    assert trial == Trial(
        id=trial.id,
        study_id=study.id,
        number=0,
        values=VALUES,
        recipe=RECIPE,
        recipe_digest=f"{0:064x}",
        label="größe ▁",
        source="sampler",
        state=TrialState.QUEUED,
        created_at=trial.created_at,
        sampler_attrs=attrs,
    )
    assert list(trial.values) == list(VALUES)
    assert trial == store.trials.get(study.id, 0)


def test_trials_are_listed_by_number(store: Store, study: Study) -> None:
    assert store.trials.of(study.id) == []
    added = [_add_trial(store, study, number) for number in (2, 0, 1)]
    assert store.trials.of(study.id) == [added[1], added[2], added[0]]


def test_a_saved_trial_comes_back_equal(store: Store, study: Study) -> None:
    other = _add_trial(store, study, 1)
    trial = dataclasses.replace(
        _add_trial(store, study),
        state=TrialState.COMPLETE,
        reason='größe: it\'s "fine"',
        finished_at=1_700_000_000.123456,
        metrics={"wer": 0.1 + 0.2, "latency_p95_ms@pi-5": 1e-9},
        objective_values=(0.3, 1e9, -2.0),
        constraints={"size_mb <= 15": -1.5},
        sampler_attrs={"generation": 2},
        compute_s=12.5,
    )
    store.trials.save(trial)
    assert store.trials.get(study.id, 0) == trial
    assert type(store.trials.get(study.id, 0).objective_values) is tuple
    assert store.trials.of(study.id) == [trial, other]


def test_objective_values_can_be_taken_back(store: Store, study: Study) -> None:
    trial = _add_trial(store, study).evolve(objective_values=(1.0,), reason="broken")
    store.trials.save(trial)
    store.trials.save(trial.evolve(objective_values=None, reason=None))
    again = store.trials.get(study.id, 0)
    assert again.objective_values is None
    assert again.reason is None


@pytest.mark.parametrize("state", TrialState)
def test_every_state_of_a_trial_is_kept(store: Store, study: Study, state: TrialState) -> None:
    store.trials.save(_add_trial(store, study).evolve(state=state))
    assert store.trials.get(study.id, 0).state is state


def test_an_unknown_trial_is_answered_with_those_there_are(store: Store, study: Study) -> None:
    with pytest.raises(NoSuchTrial) as caught:
        store.trials.get(study.id, 3)
    assert str(caught.value) == "the study has no trial 3; it has no trials yet"
    for number in range(3):
        _add_trial(store, study, number)
    with pytest.raises(NoSuchTrial) as caught:
        store.trials.get(study.id, 3)
    assert str(caught.value) == "the study has no trial 3; it has trials 0 to 2"


def test_a_number_is_given_once_in_a_study(store: Store, study: Study) -> None:
    other = store.studies.create(**{**STUDY, "name": "other"})
    first = _add_trial(store, study)
    _add_trial(store, other)
    with pytest.raises(sa.exc.IntegrityError):
        _add_trial(store, study)
    assert store.trials.of(study.id) == [first]


@pytest.mark.parametrize("field", ["state", "metrics"])
def test_records_cannot_be_changed(store: Store, study: Study, field: str) -> None:
    trial = _add_trial(store, study)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(trial, field, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        study.state = StudyState.FAILED  # type: ignore[misc]


# stage runs


def _add_run(store: Store, study: Study, stage: str, **columns: Any) -> None:
    given: dict[str, Any] = {
        "trial_number": 0,
        "stage": stage,
        "key": "k" * 64,
        "attempt": 1,
        "state": "done",
        "started_at": 1.25,
        "duration_s": 0.5,
    }
    store.stage_runs.add(study.id, **{**given, **columns})


def test_a_stage_run_comes_back_as_it_went(store: Store, study: Study) -> None:
    result = {"kind": "train", "checkpoint": "d" * 64, "readings": [{"value": 0.1 + 0.2}]}
    _add_run(store, study, "train", result=result)
    log = "line\n" * 500 + "größe"
    _add_run(store, study, "export", attempt=2, state="failed", error="ended with 3", log=log)
    done, failed = store.stage_runs.of(study.id)
    assert done == StageRun(
        id=done.id,
        study_id=study.id,
        trial_number=0,
        stage="train",
        key="k" * 64,
        attempt=1,
        state="done",
        started_at=1.25,
        duration_s=0.5,
        result=result,
    )
    assert (failed.error, failed.log, failed.attempt) == ("ended with 3", log, 2)
    assert failed.result == {}


def test_stage_runs_are_asked_for_by_trial_or_of_the_study_itself(
    store: Store, study: Study
) -> None:
    other = store.studies.create(**{**STUDY, "name": "other"})
    for number, stage in ((None, "prepare"), (0, "screen"), (1, "screen"), (0, "train")):
        _add_run(store, study, stage, trial_number=number)
    _add_run(store, other, "measure")
    said = {
        number: [run.stage for run in store.stage_runs.of(study.id, number)]
        for number in (ALL, None, 0, 1, 2)
    }
    assert said == {
        ALL: ["prepare", "screen", "screen", "train"],
        None: ["prepare"],
        0: ["screen", "train"],
        1: ["screen"],
        2: [],
    }


def test_a_log_may_hold_any_character_a_process_printed(store: Store, study: Study) -> None:
    printed = "before \x00 after \x1b[31m red \ufffd"
    _add_run(store, study, "train", state="failed", error=f"odd: {printed}", log=printed)
    (run,) = store.stage_runs.of(study.id)
    assert run.log is not None
    assert run.log.replace("\ufffd", "\x00") == printed.replace("\ufffd", "\x00")


# measurements


def _measured(value: float, **columns: Any) -> Measurement:
    given = {"subject": "17", "target": "cpu", "metric": "latency_p95_ms"}
    return Measurement(**{**given, "value": value, **columns})


def test_measurements_come_back_with_their_samples(store: Store, study: Study) -> None:
    figures = [
        _measured(7.5, samples=(7.1, 0.1 + 0.2, 9e-9)),
        _measured(0.25, target="", metric="wer"),
        _measured(3.0, subject="teacher"),
    ]
    store.measurements.save(study.id, figures)
    assert store.measurements.of(study.id) == figures
    assert store.measurements.of(study.id, "17") == figures[:2]
    assert store.measurements.of(study.id, "teacher") == figures[2:]
    assert store.measurements.of(study.id, "18") == []


def test_a_measurement_taken_again_replaces_the_first(store: Store, study: Study) -> None:
    other = store.studies.create(**{**STUDY, "name": "other"})
    kept = [
        _measured(1.0, target="pi5"),
        _measured(2.0, metric="rtf"),
        _measured(3.0, subject="18"),
    ]
    store.measurements.save(study.id, [_measured(9.0, samples=(9.0,)), *kept])
    store.measurements.save(other.id, [_measured(8.0)])
    store.measurements.save(study.id, [_measured(4.0)])
    assert sorted(store.measurements.of(study.id), key=lambda m: m.value) == [*kept, _measured(4.0)]
    assert store.measurements.of(other.id) == [_measured(8.0)]


def test_measurements_are_written_all_or_none(store: Store, study: Study) -> None:
    store.measurements.save(study.id, [_measured(1.0)])
    bad = _measured(3.0, subject=None, metric="rtf")
    with pytest.raises(sa.exc.IntegrityError):
        store.measurements.save(study.id, [_measured(2.0), bad])
    assert store.measurements.of(study.id) == [_measured(1.0)]


# events


def test_events_are_told_in_order_and_the_last_few_alone(store: Store, study: Study) -> None:
    other = store.studies.create(**{**STUDY, "name": "other"})
    store.events.add(other.id, "study", "elsewhere")
    told = [
        store.events.add(study.id, "study", "starts"),
        store.events.add(study.id, "trial", "größe", trial_number=4, data={"to": [1, 2.5]}),
        store.events.add(study.id, "fault", "x" * 5000),
    ]
    assert store.events.of(study.id) == told
    assert store.events.of(study.id, last=2) == told[1:]
    assert store.events.of(study.id, last=9) == told
    assert told[1].trial_number == 4
    assert told[1].data == {"to": [1, 2.5]}
    assert told[0].data == {}


# time


def test_the_time_of_what_is_written_is_that_of_the_clock(url: str) -> None:
    now = [1_700_000_000.125]
    store = Store(url, lambda: now[0])
    study = store.studies.create(**STUDY)
    now[0] += 1
    trial = _add_trial(store, study)
    now[0] += 1
    event = store.events.add(study.id, "study", "starts")
    now[0] += 1
    store.notes.add(study.id, 0, "note", "kept", "ann")
    (note,) = store.notes.of(study.id)
    written = [study.created_at, trial.created_at, event.at, note.at]
    assert written == [1_700_000_000.125 + seconds for seconds in range(4)]
    assert store.events.of(study.id) == [event]
    store.close()


# commands


def test_a_command_is_taken_once(store: Store, study: Study) -> None:
    other = store.studies.create(**{**STUDY, "name": "other"})
    store.commands.add(study.id, "cancel", 17)
    store.commands.add(study.id, "stop")
    store.commands.add(other.id, "pause")
    taken = store.commands.take(study.id)
    assert [(c.kind, c.argument) for c in taken] == [("cancel", 17), ("stop", None)]
    assert store.commands.take(study.id) == []
    assert [c.kind for c in store.commands.take(other.id)] == ["pause"]


def test_of_many_takers_at_once_only_one_gets_a_command(lasting_url: str) -> None:
    n_takers, n_rounds = 4, 15
    stores = [Store(lasting_url) for _ in range(n_takers)]
    study = stores[0].studies.create(**STUDY)
    together = Barrier(n_takers)

    def take(store: Store) -> list[int]:
        together.wait()
        return [c.id for c in store.commands.take(study.id)]

    with ThreadPoolExecutor(n_takers) as pool:
        for _ in range(n_rounds):
            for number in range(5):
                stores[0].commands.add(study.id, "cancel", number)
            taken = [i for ids in pool.map(take, stores) for i in ids]
            assert len(taken) == 5
            assert len(set(taken)) == 5
    for store in stores:
        store.close()


def test_commands_added_while_others_are_taken_are_not_lost(lasting_url: str) -> None:
    writer, reader = Store(lasting_url), Store(lasting_url)
    study = writer.studies.create(**STUDY)
    n_commands = 40
    together = Barrier(2)

    def write() -> None:
        together.wait()
        for number in range(n_commands):
            writer.commands.add(study.id, "cancel", number)

    taken: list[int | None] = []
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        together.wait()
        while not written.done():
            taken += [c.argument for c in reader.commands.take(study.id)]
        written.result()
    taken += [c.argument for c in reader.commands.take(study.id)]
    assert taken == list(range(n_commands))
    writer.close()
    reader.close()


def test_of_many_threads_with_one_store_only_one_gets_a_command(store: Store, study: Study) -> None:
    n_takers = 4
    together = Barrier(n_takers)

    def take(_number: int) -> list[int | None]:
        together.wait()
        return [c.argument for _ in range(5) for c in store.commands.take(study.id)]

    for number in range(20):
        store.commands.add(study.id, "cancel", number)
    with ThreadPoolExecutor(n_takers) as pool:
        taken = [number for numbers in pool.map(take, range(n_takers)) for number in numbers]
    assert sorted(n for n in taken if n is not None) == list(range(20))


# in memory


def test_a_store_in_memory_is_one_alone_and_gone_with_it() -> None:
    one, other = memory_store(), memory_store()
    one.studies.create(**STUDY)
    assert other.studies.all() == []
    assert [s.name for s in one.studies.all()] == ["edge"]
    one.close()
    again = memory_store()
    assert again.studies.all() == []
    again.close()
    other.close()


def test_a_store_in_memory_is_the_same_for_every_thread_that_holds_it() -> None:
    store = memory_store()
    study = store.studies.create(**STUDY)
    n_threads = 6
    together = Barrier(n_threads)

    def add(number: int) -> int:
        together.wait()
        return _add_trial(store, study, number).number

    with ThreadPoolExecutor(n_threads) as pool:
        assert list(pool.map(add, range(n_threads))) == list(range(n_threads))
    assert [t.number for t in store.trials.of(study.id)] == list(range(n_threads))
    store.close()


# what cannot be opened


def _unreachable(url: str) -> str:
    with pytest.raises(StoreUnreachable) as caught:
        Store(url)
    return str(caught.value)


def test_what_is_no_database_url_is_refused_with_an_example() -> None:
    assert _unreachable("store.sqlite") == (
        '"store.sqlite" is not a database URL; write sqlite:///path/store.sqlite or '
        "postgresql://user@host/name"
    )
    assert _unreachable("mysql://host/name") == "mysql: the store is SQLite or PostgreSQL"


def test_a_port_that_is_no_number_makes_no_database_url() -> None:
    assert "is not a database URL" in _unreachable("postgresql://user@host:port/name")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_text("no database at all\n" * 100)
    said = _unreachable(f"sqlite:///{path}")
    assert said == f"the store sqlite:///{path} cannot be opened: file is not a database"
    assert path.read_text() == "no database at all\n" * 100


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    url = f"sqlite:///{tmp_path}/file/store.sqlite"
    assert re.fullmatch(
        re.escape(f"the store {url} cannot be opened: ") + r".*(exists|Not a directory).*",
        _unreachable(url),
    )


def test_a_server_that_does_not_answer_is_named_without_the_password(tmp_path: Path) -> None:
    said = _unreachable(f"postgresql://me:hunter2@/name?host={tmp_path}")
    assert said.startswith("the store postgresql+psycopg://me:***@/name")
    assert "cannot be opened: " in said
    assert "hunter2" not in said
    assert "\n" not in said
