"""What commands and scrapes ask of long studies is counted by the database."""

from __future__ import annotations

from store_rows import STUDY, add_trial

from storage.records import Study, TrialState
from storage.store import Store


def test_trials_are_counted_by_state_with_what_they_took(store: Store, study: Study) -> None:
    other = store.studies.create(**{**STUDY, "name": "other"})
    add_trial(store, other)
    states = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAILED, TrialState.RUNNING)
    for number, state in enumerate(states):
        trial = add_trial(store, study, number)
        store.trials.save(trial.evolve(state=state, compute_s=1.5))
    assert store.trials.totals(study.id) == {
        TrialState.COMPLETE: (2, 3.0),
        TrialState.FAILED: (1, 1.5),
        TrialState.RUNNING: (1, 1.5),
    }
    assert store.trials.last_open(study.id) == 3


def test_a_study_without_trials_has_none_open(store: Store, study: Study) -> None:
    assert store.trials.totals(study.id) == {}
    assert store.trials.last_open(study.id) is None


def test_attempts_are_counted_by_stage_and_state(store: Store, study: Study) -> None:
    for number, state in enumerate(("done", "failed", "done")):
        store.stage_runs.add(
            study.id,
            trial_number=number,
            stage="train",
            key="k" * 64,
            attempt=1,
            state=state,
            started_at=0.0,
            duration_s=2.0,
        )
    found = sorted(store.stage_runs.totals(study.id))
    assert found == [("train", "done", 2, 4.0), ("train", "failed", 1, 2.0)]


def test_events_after_one_are_told_in_order(store: Store, study: Study) -> None:
    events = [store.events.add(study.id, "trial", str(number)) for number in range(4)]
    assert [e.message for e in store.events.since(study.id, events[1].id)] == ["2", "3"]
    assert store.events.since(study.id, events[-1].id) == []
