"""What pages ask of a store: over SQLite, over PostgreSQL and in memory alike."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage.records import Study, StudyState, TrialRow, TrialState
from storage.store import Store

STUDY: dict[str, Any] = {
    "space_yaml": "name: edge\n",
    "space_path": "edge.yaml",
    "space_digest": "d" * 64,
    "seed": 7,
    "deterministic": False,
    "trials_wanted": 24,
}
HOSTILE = "<script>alert(1)</script>'; DROP TABLE notes; -- größe ▁ 語 \x1b[31m"


@pytest.fixture
def study(store: Store) -> Study:
    return store.studies.create(name="edge", **STUDY)


def _add_trial(store: Store, study: Study, number: int, **values: Any) -> None:
    store.trials.add(
        study.id,
        number=number,
        values=values,
        recipe={"student": values},
        recipe_digest=f"{number:064x}",
        label=f"größe {number}",
        source="sampler",
    )


def test_rows_of_trials_are_what_the_trials_say(store: Store, study: Study) -> None:
    for number in (2, 0, 1):
        _add_trial(store, study, number, family="conformer", weight=0.1 + 0.2)
    trial = store.trials.get(study.id, 1)
    store.trials.save(
        trial.evolve(
            state=TrialState.INFEASIBLE,
            metrics={"wer": 0.1 + 0.2},
            reason="größe\0",
            finished_at=1_700_000_000.25,
            compute_s=1.5,
        )
    )
    rows = store.trials.rows(study.id)
    assert [r.number for r in rows] == [0, 1, 2]
    trials = store.trials.of(study.id)
    for row, trial in zip(rows, trials, strict=True):
        names = [f.name for f in dataclasses.fields(row)]
        assert row == TrialRow(**{name: getattr(trial, name) for name in names})
    assert rows[1].state is TrialState.INFEASIBLE
    assert rows[1].reason == "größe�"
    assert rows[1].label == "größe 1"


def test_rows_are_of_one_study(store: Store, study: Study) -> None:
    other = store.studies.create(name="other", **STUDY)
    _add_trial(store, study, 0, family="conformer")
    assert store.trials.rows(other.id) == []


def test_the_last_event_grows_with_every_event_of_the_study_alone(
    store: Store, study: Study
) -> None:
    other = store.studies.create(name="other", **STUDY)
    assert store.events.last_id(study.id) == 0
    first = store.events.add(study.id, "trial", "begun", 0)
    assert store.events.last_id(study.id) == first.id
    store.events.add(other.id, "trial", "begun", 0)
    assert store.events.last_id(study.id) == first.id
    assert store.events.add(study.id, "trial", "done", 0).id > first.id


def test_what_runs_now_is_kept_until_it_is_taken_away(store: Store, study: Study) -> None:
    assert study.live is None
    said = {"at": 1_700_000_000.25, "running": [{"trial": None, "stage": "prepare"}], "eta_s": None}
    store.studies.change(study.id, live=said, state=StudyState.PAUSED)
    found = store.studies.get("edge")
    assert (found.live, found.state) == (said, StudyState.PAUSED)
    store.studies.change(study.id, live=None)
    assert store.studies.get("edge").live is None


def test_notes_and_tags_come_back_as_they_were_written(store: Store, study: Study) -> None:
    store.notes.add(study.id, None, "note", HOSTILE, "ann@example.org")
    store.notes.add(study.id, 3, "tag", "é" * 10_000 + "\0", "b\0" * 500)
    of_study, of_trial = store.notes.of(study.id)
    assert (of_study.trial_number, of_study.kind, of_study.text) == (None, "note", HOSTILE)
    assert (of_trial.trial_number, of_trial.kind) == (3, "tag")
    assert of_trial.text == "é" * 10_000 + "�"
    assert of_trial.author == "b�" * 64
    assert of_study.at <= of_trial.at


def test_a_note_is_dropped_by_its_study_only(store: Store, study: Study) -> None:
    other = store.studies.create(name="other", **STUDY)
    store.notes.add(study.id, 0, "note", "kept", "ann")
    (note,) = store.notes.of(study.id)
    store.notes.drop(other.id, note.id)
    assert store.notes.of(study.id) == [note]
    store.notes.drop(study.id, note.id)
    store.notes.drop(study.id, note.id)  # somebody else was faster
    assert store.notes.of(study.id) == []
