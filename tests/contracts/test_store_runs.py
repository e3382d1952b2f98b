"""What was done and measured comes back, with its times: stage runs, measurements, events."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from store_rows import STUDY, add_trial

from storage.records import Measurement, StageRun, Study
from storage.stage_runs import ALL
from storage.store import Store


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
    trial = add_trial(store, study)
    now[0] += 1
    event = store.events.add(study.id, "study", "starts")
    now[0] += 1
    store.notes.add(study.id, 0, "note", "kept", "ann")
    (note,) = store.notes.of(study.id)
    written = [study.created_at, trial.created_at, event.at, note.at]
    assert written == [1_700_000_000.125 + seconds for seconds in range(4)]
    assert store.events.of(study.id) == [event]
    store.close()
