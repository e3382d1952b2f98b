"""What people come for: the student to ship, why one failed, which is better, and the way to show
it to somebody else; by clicks, by keyboard, and by the address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import hear, said, serving, settled
from fabricated import fabricate
from pages import click_point, go, with_store
from playwright.sync_api import Browser, Page, expect

from storage.records import TrialState
from storage.store import Store

WHY = "train: the loss is not a number after 3 epochs"


@pytest.fixture(scope="module")
def deciding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A study of sixty trials, of which one has failed."""
    home = tmp_path_factory.mktemp("deciding") / "home"
    with_store(home, _write)
    with serving(home) as url:
        yield url


def _write(store: Store) -> None:
    study = fabricate(store, "edge", 60)
    failed = store.trials.get(study.id, 7)
    nothing = {"metrics": {}, "objective_values": None}
    store.trials.save(failed.evolve(state=TrialState.FAILED, reason=WHY, **nothing))


def _ship(page: Page) -> str:
    heading = page.get_by_role("heading", name=re.compile("^Ship trial"))
    expect(heading).to_be_visible()
    return heading.inner_text()


@pytest.mark.parametrize("path", ["", "front"])
def test_the_student_to_ship_comes_first_with_the_rule(
    page: Page, deciding: str, path: str
) -> None:
    go(page, deciding, path, study="edge")
    answer = _ship(page)
    assert re.fullmatch(
        r"Ship trial \d+: [\d.]+ MB, [\d.]+% WER \(.*\), p95 .* ms, steady\.", answer
    )
    hear(
        page, r"Rule: the smallest of the \d+ whose errors", "within noise|None makes fewer errors"
    )
    box = page.get_by_role("heading", name=answer).bounding_box()
    assert box is not None and box["y"] + box["height"] < 300


def test_a_typed_budget_changes_the_answer_and_is_in_the_address(
    page: Page, deciding: str, chromium: Browser
) -> None:
    go(page, deciding, "front", study="edge")
    before = _ship(page)
    field = page.get_by_role("spinbutton", name="size (MB) at most")
    field.fill("0.12")
    field.press("Enter")
    expect(page.get_by_role("heading", name=before)).to_have_count(0)
    settled(page)
    after = _ship(page)
    assert float(re.search(r": ([\d.]+) MB", after)[1]) <= 0.12  # type: ignore[index]
    assert "size_mb=0.12" in page.url
    page.get_by_role("radio", name="Table", exact=True).click()
    hear(page, "Front within the budgets")
    page.get_by_role("button", name=re.compile("^Open trial")).click()
    number = re.search(r"trial (\d+)", after)[1]  # type: ignore[index]
    expect(page.get_by_role("heading", name=f"Trial {number}", exact=True)).to_be_visible()

    page.get_by_role("link", name="Compare").first.click()  # and back: it is as it was
    expect(page.get_by_role("heading", name="edge: compare")).to_be_visible()
    page.get_by_role("link", name="Front", exact=True).click()
    expect(page.get_by_role("heading", name=after)).to_be_visible()

    other = chromium.new_page()  # a colleague's browser
    try:
        other.goto(page.url)
        settled(other)
        expect(other.get_by_role("heading", name=after)).to_be_visible()
        expect(other.get_by_role("heading", name=f"Trial {number}", exact=True)).to_be_visible()
        hear(other, "Front within the budgets")
    finally:
        other.close()


def test_why_a_trial_failed_is_read_at_once_and_its_stages_are_a_click_away(
    page: Page, deciding: str
) -> None:
    go(page, deciding, study="edge")
    hear(page, "1 failed")
    page.get_by_test_id("data-grid-canvas").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Space")
    expect(page.get_by_role("heading", name="Trial 7", exact=True)).to_be_visible()
    hear(page, WHY)
    go(page, deciding, "trial", study="edge", trial=7)
    expect(page.get_by_role("radio", name="Stages", checked=True)).to_be_visible()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_a_click_shows_its_trial_in_sight(
    page: Page, deciding: str, width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    go(page, deciding, "front", study="edge")
    page.locator(".front-chart").first.scroll_into_view_if_needed()
    settled(page)
    number = click_point(page, 0)
    heading = page.get_by_role("heading", name=f"Trial {number}", exact=True)
    expect(heading).to_be_visible()
    settled(page)
    box = heading.bounding_box()
    assert box is not None and box["y"] >= 0 and box["y"] + box["height"] <= height
    page.get_by_role("button", name="Close", exact=True).click()
    expect(heading).to_have_count(0)
    assert "trial=" not in page.url


def test_the_title_of_the_tab_names_page_and_study(page: Page, deciding: str) -> None:
    for path, title in (("", "Studies"), ("front", "Front"), ("compare", "Compare")):
        go(page, deciding, path, study="edge")
        expect(page).to_have_title(f"{title} · edge · Compression search")


def test_back_leads_to_the_page_before(page: Page, deciding: str) -> None:
    go(page, deciding, study="edge")
    page.get_by_role("link", name="Front", exact=True).click()
    expect(page.get_by_role("heading", name="edge: front")).to_be_visible()
    settled(page)
    page.go_back()
    expect(page.get_by_role("heading", name="edge", exact=True)).to_be_visible()


def test_which_of_two_is_better_is_a_click_from_the_answer(page: Page, deciding: str) -> None:
    go(page, deciding, "front", study="edge")
    page.get_by_test_id("stMain").get_by_role("link", name="Compare").click()
    hear(page, r"WER.*: trial \d+", r"size: trial \d+ is \d+% (larger|smaller)")


def test_two_trials_that_are_opened_are_compared_by_a_third_click(
    page: Page, deciding: str
) -> None:
    go(page, deciding, "front", study="edge")
    first = click_point(page, 0)
    expect(page.get_by_role("heading", name=f"Trial {first}", exact=True)).to_be_visible()
    second = click_point(page, 1)
    expect(page.get_by_role("heading", name=f"Trial {second}", exact=True)).to_be_visible()
    page.get_by_role("link", name=f"Compare with trial {first}").click()
    hear(page, rf"trial {second} and trial {first}|trial {second} makes")


def test_any_figure_is_drawn_over_any_other_with_the_front_beside(
    page: Page, deciding: str
) -> None:
    go(page, deciding, "front", study="edge", view="Free")
    page.get_by_role("combobox", name="Across").click()
    page.keyboard.type("peak memory (MB)")
    page.keyboard.press("Enter")
    settled(page)
    assert "x=peak" in page.url
    assert page.locator(".front-chart").count() == 1
    title = "document.querySelector('.js-plotly-plot')?._fullLayout?.xaxis.title.text"
    page.wait_for_function(f"({title})?.startsWith('peak memory')")


def test_the_report_is_a_click_and_says_the_same(page: Page, deciding: str) -> None:
    go(page, deciding, study="edge")
    answer = _ship(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Report").click()
    assert download.value.suggested_filename == "edge.html"
    assert answer in Path(download.value.path()).read_text()


def test_the_link_to_a_view_is_copied(page: Page, deciding: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    go(page, deciding, "front", study="edge", trial=3, view="Table")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_the_compute_by_stage_is_told(page: Page, deciding: str) -> None:
    go(page, deciding, study="edge")
    assert "found done" not in said(page)
    page.get_by_text("Compute by stage").click()
    hear(page, "found done", "measure")
