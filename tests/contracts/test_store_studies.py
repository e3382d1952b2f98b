"""Studies and trials come back as saved: over SQLite, over PostgreSQL and in memory alike."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import sqlalchemy as sa
from store_rows import RECIPE, STUDY, VALUES, add_trial

from storage.errors import NoSuchStudy, NoSuchTrial, StorageError
from storage.records import Focus, Study, StudyState, Trial, TrialState
from storage.store import Store


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
        "added_targets": {},
        "focuses": (),
        "warm_start": None,
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
        "added_targets": {"pi-5": {"threads": 4}},
        "focuses": (Focus(12, 8, {"size_mb": "<= 1"}),),
        "warm_start": {"earlier": [0, 3]},
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


def test_trials_that_are_added_may_have_a_focus_of_their_own(store: Store, study: Study) -> None:
    wanted, limits = study.trials_wanted, {"latency_p95_ms@pi-5": "<= 20", "wer": "<= 12%"}
    assert store.studies.extend(study.id, 5, limits) == wanted + 5
    assert store.studies.extend(study.id, 3) == wanted + 8
    assert store.studies.extend(study.id, 2, {"size_mb": "<= 1"}) == wanted + 10
    assert store.studies.get("edge").focuses == (
        Focus(wanted, 5, limits),
        Focus(wanted + 8, 2, {"size_mb": "<= 1"}),
    )


# trials


def test_a_new_trial_is_queued_and_holds_what_it_was_given(store: Store, study: Study) -> None:
    attrs = {"nsga2:generation": 1, "parents": [1, 2]}
    trial = add_trial(store, study, sampler_attrs=attrs)
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
    added = [add_trial(store, study, number) for number in (2, 0, 1)]
    assert store.trials.of(study.id) == [added[1], added[2], added[0]]


def test_the_tally_is_another_when_a_trial_is_added_or_has_ended(
    store: Store, study: Study
) -> None:
    assert store.trials.tally(study.id) == (0, 0, 0.0)
    trial = add_trial(store, study, 0)
    assert store.trials.tally(study.id) == (1, 0, 0.0)
    store.trials.save(trial.evolve(state=TrialState.COMPLETE, finished_at=12.5))
    assert store.trials.tally(study.id) == (1, 1, 12.5)
    store.trials.save(trial.evolve(state=TrialState.COMPLETE, finished_at=20.0))
    assert store.trials.tally(study.id) == (1, 1, 20.0)


def test_a_saved_trial_comes_back_equal(store: Store, study: Study) -> None:
    other = add_trial(store, study, 1)
    trial = dataclasses.replace(
        add_trial(store, study),
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
    trial = add_trial(store, study).evolve(objective_values=(1.0,), reason="broken")
    store.trials.save(trial)
    store.trials.save(trial.evolve(objective_values=None, reason=None))
    again = store.trials.get(study.id, 0)
    assert again.objective_values is None
    assert again.reason is None


@pytest.mark.parametrize("state", TrialState)
def test_every_state_of_a_trial_is_kept(store: Store, study: Study, state: TrialState) -> None:
    store.trials.save(add_trial(store, study).evolve(state=state))
    assert store.trials.get(study.id, 0).state is state


def test_an_unknown_trial_is_answered_with_those_there_are(store: Store, study: Study) -> None:
    with pytest.raises(NoSuchTrial) as caught:
        store.trials.get(study.id, 3)
    assert str(caught.value) == "the study has no trial 3; it has no trials yet"
    for number in range(3):
        add_trial(store, study, number)
    with pytest.raises(NoSuchTrial) as caught:
        store.trials.get(study.id, 3)
    assert str(caught.value) == "the study has no trial 3; it has trials 0 to 2"


def test_a_number_is_given_once_in_a_study(store: Store, study: Study) -> None:
    other = store.studies.create(**{**STUDY, "name": "other"})
    first = add_trial(store, study)
    add_trial(store, other)
    with pytest.raises(sa.exc.IntegrityError):
        add_trial(store, study)
    assert store.trials.of(study.id) == [first]


@pytest.mark.parametrize("field", ["state", "metrics"])
def test_records_cannot_be_changed(store: Store, study: Study, field: str) -> None:
    trial = add_trial(store, study)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(trial, field, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        study.state = StudyState.FAILED  # type: ignore[misc]
