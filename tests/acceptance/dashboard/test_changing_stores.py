"""A page keeps to what its store holds: what arrives, what goes, and what means harm."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from browser import hear, said, serving, settled
from fabricated import add_like, alive, fabricate
from folders import ROOT
from pages import MARKUP, PAGES, click_point, count_of, go, slider_of, with_store
from playwright.sync_api import Page, expect

from storage.records import StudyState
from storage.store import Store

HOSTILE = f"{MARKUP}\x00\x1b[31m ../../etc/passwd $(id) {'é' * 10_000}"


def test_a_store_without_studies_says_how_to_begin_and_shows_the_first(
    page: Page, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with_store(home, lambda store: None)
    with serving(home) as url:
        go(page, url)
        hear(page, "search launch --space quickstart.yaml")
        with_store(home, lambda store: fabricate(store, "first", 1))
        expect(page.get_by_role("heading", name="first")).to_be_visible()


def test_a_refresh_of_a_running_study_keeps_selection_and_scroll_position(
    page: Page, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    live = {"state": StudyState.RUNNING, "wanted": 90, "live": alive([])}
    with_store(home, lambda store: fabricate(store, "live", 30, **live))
    with serving(home) as url:
        go(page, url, "front", study="live")
        slider = slider_of(page, "latency p95 at most")
        slider.focus()
        for _ in range(8):
            page.keyboard.press("ArrowLeft")
        hear(page, r"\b(?!30)\d+ of 30 complete")
        number = click_point(page, 1)
        heading = page.get_by_role("heading", name=f"Trial {number}", exact=True)
        expect(heading).to_be_visible()
        settled(page)
        main = page.get_by_test_id("stMain")
        main.evaluate("e => e.scrollTo(0, 700)")
        limit, count = slider.get_attribute("aria-valuetext"), count_of(page)

        with_store(home, lambda store: add_like(store, "live", 10))
        expect(page.get_by_text(f"{count} of 30 complete")).to_have_count(0)
        settled(page)
        assert main.evaluate("e => e.scrollTop") == 700
        assert slider.get_attribute("aria-valuetext") == limit
        expect(heading).to_be_visible()
        assert f"trial={number}" in page.url

        go(page, url, study="live")
        main.evaluate("e => e.scrollTo(0, 300)")
        page.get_by_text("Steer this study").click()
        with_store(home, lambda store: add_like(store, "live", 3))
        expect(page.get_by_text("43 of 90")).to_be_visible()
        assert main.evaluate("e => e.scrollTop") == 300
        expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_a_row_stays_chosen_when_better_trials_arrive(page: Page, tmp_path: Path) -> None:
    home = tmp_path / "home"
    live = {"state": StudyState.RUNNING, "wanted": 90, "live": alive([])}
    with_store(home, lambda store: fabricate(store, "live", 30, **live))
    with serving(home) as url:
        go(page, url, "front", study="live")
        page.get_by_role("radio", name="Table").click()
        hear(page, "Front within the budgets")
        page.get_by_test_id("data-grid-canvas").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Shift+Space")
        heading = page.get_by_role("heading", name=re.compile(r"^Trial \d+$"))
        expect(heading).to_be_visible()
        chosen = heading.inner_text()
        with_store(home, lambda store: add_like(store, "live", 5, better=0.8))
        hear(page, "of 35 complete")
        expect(heading).to_have_text(chosen)
        page.get_by_role("button", name=re.compile("^Open trial")).click()
        expect(heading).not_to_have_text(chosen)


def test_a_study_that_is_deleted_while_it_is_looked_at_is_said_to_be_gone(
    page: Page, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for name in ("stays", "goes"):
        with_store(home, lambda store, name=name: fabricate(store, name, 20))
    with serving(home) as url:
        go(page, url, "front", study="goes")
        with closing(sqlite3.connect(home / "store.sqlite")) as store, store:
            store.execute("DELETE FROM studies WHERE name = 'goes'")
        slider_of(page, "size at most").focus()
        page.keyboard.press("ArrowLeft")
        hear(page, "There is no study goes in this store")
        assert page.get_by_test_id("stException").count() == 0
        page.get_by_role("button", name="stays", exact=True).click()
        expect(page.get_by_role("heading", name="stays: front")).to_be_visible()


def test_a_page_is_not_drawn_while_something_is_measured(page: Page, tmp_path: Path) -> None:
    home = tmp_path / "home"
    doing = [{"trial": 30, "stage": "measure@cpu", "elapsed_s": 1.0, "progress": None}]
    live = {"state": StudyState.RUNNING, "wanted": 90, "live": alive(doing)}
    with_store(home, lambda store: fabricate(store, "live", 30, **live))
    with serving(home) as url:
        go(page, url, study="live")
        hear(page, "30 of 90", "this page waits until it is measured")
        with_store(home, lambda store: add_like(store, "live", 3))
        page.wait_for_timeout(15_000)  # time enough to be drawn
        with_store(home, lambda s: s.studies.change(s.studies.get("live").id, live=alive(doing)))
        assert "30 of 90" in said(page)
        with_store(home, lambda s: s.studies.change(s.studies.get("live").id, live=alive([])))
        hear(page, "33 of 90")


def test_a_store_that_is_replaced_is_noticed(page: Page, tmp_path: Path) -> None:
    homes = [tmp_path / name / "home" for name in ("first", "second")]
    for home, name in zip(homes, ("before", "after"), strict=True):
        with_store(home, lambda store, name=name: fabricate(store, name, 5))
    with serving(homes[0]) as url:
        go(page, url, study="before")
        hear(page, "5 of 5")
        for path in homes[0].glob("store.sqlite*"):
            path.unlink()
        shutil.copy(homes[1] / "store.sqlite", homes[0] / "store.sqlite")
        hear(page, "There is no study before in this store")
        expect(page.get_by_role("button", name="after", exact=True)).to_be_visible()


def test_hostile_text_is_text_and_no_page_tells_secrets_or_places(
    page: Page, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with_store(home, _write_hostile)
    secret = f"{home}/secret token=tttttttt postgresql://me:pppppppp@host/db"
    with_store(home, lambda store: _write_fault(store, secret))
    with serving(home) as url:
        for path in PAGES:
            page.goto(f"{url}/{path}?trial=1")
            settled(page)
            for view in ("Table", "Stages") if path in ("front", "trial") else ():
                for button in page.get_by_role("radio", name=view).all():
                    button.click()
                    hear(page, "Trial 1")
            assert page.get_by_test_id("stException").count() == 0, path
            assert page.locator("img[src=x], a[href^=javascript]").count() == 0
            everything = page.content() + said(page)
            for told in (str(home), str(ROOT), "tttttttt", "pppppppp"):
                assert told not in everything, (path, told)
            hear(page, re.escape(MARKUP))
        page.goto(f"{url}/?trial=1")
        page.get_by_text(re.compile("Notes and tags")).wait_for()
        hear(page, r"\(10,0")  # a note of 10 kB, cut


def _write_hostile(store: Store) -> None:
    study = fabricate(store, MARKUP, 12)
    for number in (None, 1):
        store.notes.add(study.id, number, "note", HOSTILE, MARKUP)
    store.studies.change(study.id, live=alive([], [MARKUP]) | {"host": MARKUP})


def _write_fault(store: Store, secret: str) -> None:
    study = store.studies.all()[0]
    trial = store.trials.get(study.id, 1)
    store.trials.save(trial.evolve(reason=f"{MARKUP} {secret}"))
    store.events.add(study.id, "fault", f"{MARKUP} {secret}", 1)
    store.studies.change(study.id, state=StudyState.FAILED)
    store.stage_runs.add(
        study.id,
        trial_number=1,
        stage="train",
        key="k",
        attempt=2,
        state="failed",
        started_at=0.0,
        duration_s=1.0,
        error=f"{MARKUP} {secret}",
        log=f"{HOSTILE}\n{secret}",
    )
