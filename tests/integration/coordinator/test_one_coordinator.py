"""Homes that share a store do not run a study together."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from coordinated import Silent
from fakes import SPACE, Work

from search.errors import UsageFault
from search.executors.base import JobOutcome
from search.executors.inline import InlineExecutor
from search.home import Home
from search.study.launch import launch
from search.study.lease import Heartbeat, home_id
from search.study.options import Options
from storage.records import StudyState
from storage.store import Store

QUICK = Heartbeat(every_s=0.05, silent_s=0.5, look_every_s=0.05)


@pytest.fixture
def space(tmp_path: Path) -> str:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return str(path)


def _home(folder: Path) -> Home:
    return Home.at(folder, store_url=f"sqlite:///{folder.parent / 'shared.sqlite'}")


class Held(InlineExecutor):
    """Works on nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__(Work())
        self.began, self.may_go = threading.Event(), threading.Event()

    def poll(self, timeout_s: float) -> list[JobOutcome]:
        self.began.set()
        self.may_go.wait(30)
        return super().poll(timeout_s)


def test_the_second_home_is_told_who_runs_the_study(space: str, tmp_path: Path) -> None:
    work, ended = Held(), []

    def first() -> None:
        found = launch(space, _home(tmp_path / "one"), Options(), Silent(), work, heartbeat=QUICK)
        ended.append(found[1])

    thread = threading.Thread(target=first)
    thread.start()
    assert work.began.wait(30)
    with pytest.raises(UsageFault, match=r"is being run by process \d+ on .* with the home .*one"):
        launch(
            space,
            _home(tmp_path / "two"),
            Options(),
            Silent(),
            InlineExecutor(Work()),
            heartbeat=QUICK,
        )
    work.may_go.set()
    thread.join(60)
    assert ended == [StudyState.FINISHED]


def test_a_home_takes_over_from_one_that_gives_no_sign_of_life(space: str, tmp_path: Path) -> None:
    with_store = _home(tmp_path / "two")
    store = Store(with_store.store_url)
    dead = {"home": "gone", "folder": "/gone", "host": "another", "process": 1}
    store.leases.take("fake", dead, None)
    _, state = launch(
        space, with_store, Options(), Silent(), InlineExecutor(Work()), heartbeat=QUICK
    )
    assert state is StudyState.FINISHED
    lease = store.leases.find("fake")
    assert lease is not None and lease.holder is None
    store.close()


def test_a_home_whose_own_coordinator_was_killed_goes_on_at_once(
    space: str, tmp_path: Path
) -> None:
    home = _home(tmp_path / "one")
    launch(space, home, Options(trials=2), Silent(), InlineExecutor(Work()), heartbeat=QUICK)
    store = Store(home.store_url)
    seen = store.leases.find("fake")
    assert seen is not None
    store.leases.take("fake", {"home": home_id(home), "process": 1}, seen)  # as kill -9 leaves it
    store.close()
    never = Heartbeat(silent_s=1e9, look_every_s=1e9)
    _, state = launch(space, home, Options(), Silent(), InlineExecutor(Work()), heartbeat=never)
    assert state is StudyState.FINISHED
