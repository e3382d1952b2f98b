"""A whole search in this process, and what is heard and left of it."""

from __future__ import annotations

from collections.abc import Collection

from fakes import SPACE, Work, space

from search.executors.inline import InlineExecutor
from search.policy import policy_of
from search.study.coordinator import Coordinator, Pace
from search.study.engine import Engine, site_of
from search.study.opening import open_study, study_settings
from search.study.options import Options, with_options
from storage.store import Store

CACHED = ("prepare", "teacher_targets")  # looked for anew at every launch: a cache may be gone
EAGER = Pace(commands_every_s=0.0)  # looks for commands at every turn


class Killed(BaseException):
    """Stands for a kill: nothing in the coordinator catches it."""


class Lossy(InlineExecutor):
    """Files with these digests are gone."""

    def __init__(self, work: Work, lost: Collection[str]) -> None:
        super().__init__(work)
        self._lost = lost

    def has_artifact(self, digest: str) -> bool:
        return digest not in self._lost


class Silent:
    def __init__(self):
        self.messages = []

    def event(self, event):
        self.messages.append(event.message)

    def tick(self, snapshot):
        self.last = snapshot


def run(home, work, text=SPACE, view=None, executor=None, pace=None, **options):
    options = Options(**options)
    made = with_options(space(text), options)
    store = Store(home.store_url)
    study = open_study(store, made, text, "fake.yaml", options)
    site = site_of(Engine(), made, home)
    settings = study_settings(store, study, made, home, site)
    coordinator = Coordinator(
        store,
        store.studies.get(study.name),
        made,
        settings,
        policy_of(study.deterministic),
        executor or InlineExecutor(work),
        view or Silent(),
        pace=pace,
    )
    try:
        state = coordinator.run()
        return state, store.trials.of(study.id), store, study
    finally:
        store.close()
