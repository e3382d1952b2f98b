"""A command is taken once, whoever and however many ask for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from store_rows import STUDY

from storage.records import Study
from storage.store import Store


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
