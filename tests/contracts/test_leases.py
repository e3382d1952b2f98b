"""A study has one coordinator: leases, over every database."""

from __future__ import annotations

import pytest
from store_rows import STUDY

from storage.errors import LeaseLost
from storage.records import StudyState
from storage.store import Store

ME, OTHER = {"home": "a", "process": 1}, {"home": "b", "process": 2}


def test_a_study_that_was_never_held_is_held_by_nobody(store: Store) -> None:
    assert store.leases.find("edge") is None


def test_a_lease_says_who_holds_a_study_and_that_it_lives(store: Store) -> None:
    lease = store.leases.take("edge", ME, None)
    store.leases.beat(lease)
    found = store.leases.find("edge")
    assert found is not None
    assert (found.holder, found.token, found.beat) == (ME, lease.token, 1)


def test_a_lease_that_was_let_go_is_taken_by_another(store: Store) -> None:
    lease = store.leases.take("edge", ME, None)
    store.leases.release(lease)
    seen = store.leases.find("edge")
    assert seen is not None and seen.holder is None
    assert store.leases.take("edge", OTHER, seen).token > lease.token


def test_of_two_who_saw_the_same_lease_one_gets_it(lasting_url: str) -> None:
    one, two = Store(lasting_url), Store(lasting_url)
    one.leases.take("edge", ME, None)
    with pytest.raises(LeaseLost, match="taken over by another"):
        two.leases.take("edge", OTHER, None)
    one.close(), two.close()


def test_who_lost_a_study_writes_nothing_any_more(lasting_url: str) -> None:
    one, two = Store(lasting_url), Store(lasting_url)
    lease = one.leases.take(STUDY["name"], ME, None)
    study = one.studies.create(**STUDY)
    two.leases.take(STUDY["name"], OTHER, one.leases.find(STUDY["name"]))
    for write in (
        lambda: one.studies.change(study.id, state=StudyState.FAILED),
        lambda: one.events.add(study.id, "trial", "of somebody gone"),
        lambda: one.leases.beat(lease),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert two.studies.get(study.name).state is StudyState.RUNNING
    assert not two.events.of(study.id)
    two.events.add(study.id, "trial", "of the one who has it")
    one.leases.release(lease)  # says nothing and takes nothing
    found = two.leases.find(STUDY["name"])
    assert found is not None and found.holder == OTHER
    one.close(), two.close()


def test_a_shell_that_holds_nothing_may_ask_things_of_a_held_study(lasting_url: str) -> None:
    one, two = Store(lasting_url), Store(lasting_url)
    one.leases.take(STUDY["name"], ME, None)
    study = one.studies.create(**STUDY)
    two.commands.add(study.id, "stop")
    assert [c.kind for c in one.commands.take(study.id)] == ["stop"]
    one.close(), two.close()
