"""A page that keeps watch, and studies of every state to look at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fabricated import alive, fabricate
from pages import with_store
from playwright.sync_api import Browser, Page

from storage.records import StudyState
from storage.store import Store


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page that fails its test for scripts that break, dialogs, and whatever is fetched from
    elsewhere."""
    faults: list[str] = []
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    local = re.compile(r"^(https?|wss?)://127\.0\.0\.1[:/]|^(data|blob):")
    page.on("request", lambda r: None if local.match(r.url) else faults.append(r.url))
    yield page
    context.close()
    assert faults == []


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with studies of other states."""
    home = tmp_path_factory.mktemp("states") / "home"
    with_store(home, _write_states)
    return home


def _write_states(store: Store) -> None:
    doing = [{"trial": 7, "stage": "train", "elapsed_s": 12.0, "progress": None}]
    doing[0]["progress"] = {"what": "epochs", "done": 3, "of": 40}
    waits = ["1 wait for pi5"]
    fabricate(store, "empty", 0, state=StudyState.RUNNING, wanted=5, live=alive([]))
    fabricate(store, "running", 40, state=StudyState.RUNNING, wanted=60, live=alive(doing, waits))
    failed = fabricate(store, "failed", 3, state=StudyState.FAILED, wanted=9)
    store.events.add(failed.id, "fault", "no audio in /home/somebody/corpus/train.jsonl")
    fabricate(store, "done", 60)
