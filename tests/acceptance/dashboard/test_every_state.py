"""Studies of every state in a real browser: narrowed down, opened, compared, steered and noted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import figures_of, hear, said, serving, settled
from oidc import CLIENT_SECRET, providing
from pages import count_of, go, looks_fine_everywhere, slider_of, with_store
from playwright.sync_api import Page, expect

from storage.records import StudyState


@pytest.fixture(scope="module")
def other(states: Path) -> Iterator[str]:
    with serving(states) as url:
        yield url


@pytest.mark.parametrize("name", ["empty", "running", "failed"])
def test_studies_of_other_states_look_intended(page: Page, other: str, name: str) -> None:
    go(page, other, study=name)
    words = {
        "empty": ["running", "0 of 5", "none is at work"],
        "running": [
            "running",
            "40 of 60",
            "epochs 3 of 40",
            "1 wait for pi5",
            "0:04:00 to go",
            "this machine",
        ],
        "failed": ["failed", "could not go on", "…/train.jsonl"],
    }
    hear(page, *words[name])
    looks_fine_everywhere(page, name)
    go(page, other, "front", study=name)
    hear(page, "No trial has been measured yet" if name == "empty" else "trials meet these budgets")


def test_budgets_are_chosen_by_keyboard_and_the_front_follows(page: Page, other: str) -> None:
    go(page, other, "front", study="done")
    every = count_of(page)
    slider = slider_of(page, "size at most")
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    expect(page.get_by_text(f"{every} of", exact=False)).to_have_count(0)
    page.wait_for_timeout(1000)  # the slider tells its last step a moment after the key
    settled(page)
    inside = count_of(page)
    assert 0 < inside < every
    assert figures_of(page, "chart.data.some(t => t.name === 'beyond the budgets')")
    best = page.get_by_role("button", name=re.compile("^Open trial"))
    number = re.search(r"trial (\d+)", best.inner_text())[1]  # type: ignore[index]
    best.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Trial {number}", exact=True)).to_be_visible()
    assert f"trial={number}" in page.url


def test_a_search_goes_on_towards_the_budgets_that_are_chosen(
    page: Page, states: Path, other: str
) -> None:
    go(page, other, "front", study="done")
    expect(page.get_by_role("button", name="Search further here")).to_have_count(0)
    slider = slider_of(page, "size at most")
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(1000)  # the slider tells its last step a moment after the key
    settled(page)
    page.get_by_role("button", name="Search further here").click()
    expect(
        page.get_by_text(re.compile(r"search extend done --trials 10 --towards size_mb="))
    ).to_be_visible()
    before = with_store(states, lambda s: s.studies.get("done"))
    page.get_by_role("button", name="Add these trials").click()
    expect(page.get_by_text(re.compile("10 trials are added. Nobody runs"))).to_be_visible()
    after = with_store(states, lambda s: s.studies.get("done"))
    assert after.trials_wanted == before.trials_wanted + 10
    assert [set(f.towards) for f in after.focuses] == [{"size_mb"}]
    with_store(
        states,
        lambda s: s.studies.change(after.id, trials_wanted=before.trials_wanted),
    )
    with_store(states, lambda s: s.commands.take(after.id))


def test_what_was_zoomed_and_boxed_stays_when_a_budget_redraws_the_charts(
    page: Page, other: str
) -> None:
    page.set_viewport_size({"width": 1440, "height": 1500})  # the charts in sight
    go(page, other, "front", study="done")
    page.evaluate("window.first = document.querySelector('.js-plotly-plot')")
    shown = "JSON.stringify([chart._fullLayout.xaxis.range, chart._fullLayout.yaxis.range])"
    left, top, right, bottom = figures_of(
        page,
        """(() => {
          const box = chart.querySelector('.nsewdrag').getBoundingClientRect();
          return [box.left, box.top, box.right, box.bottom]
        })()""",
    )
    before = figures_of(page, shown)
    _drag(page, (left + 100, top + 200), (left + 120, top + 190))
    moved = figures_of(page, shown)
    assert moved != before
    page.mouse.move(left + 50, top + 50)
    page.locator(".front-chart").first.get_by_role("button", name="Box Select").click()
    inside = figures_of(
        page,
        """(() => {
          const {xaxis, yaxis} = chart._fullLayout, size = chart.querySelector('.nsewdrag');
          const {width, height} = size.getBoundingClientRect();
          const isInside = (x, y) => 5 <= x && x <= width - 100 && 5 <= y && y <= height - 60;
          return chart._fullData.filter(d => d.ids).flatMap(d => [...d.x].map((x, i) =>
            isInside(xaxis.d2p(x), yaxis.d2p(d.y[i])))).filter(Boolean).length
        })()""",
    )
    _drag(page, (left + 5, top + 5), (right - 100, bottom - 60))
    expect(page.get_by_text(f"{inside} trials in the box")).to_be_visible()
    fades = "chart.data.some(t => t.selectedpoints)"
    assert page.evaluate(
        f"[...document.querySelectorAll('.js-plotly-plot')].every(chart => {fades})"
    )
    slider = slider_of(page, "size at most")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    hear(page, "the others are grey", r"\d+ trials in the box")
    assert figures_of(page, shown) == moved
    assert figures_of(page, "chart === window.first")
    page.get_by_role("button", name="Drop").click()
    expect(page.get_by_text(re.compile(r"^\d+ trials in the box"))).to_have_count(0)
    settled(page)
    page.wait_for_function(f"(chart => !({fades}))(document.querySelector('.js-plotly-plot'))")


def _drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()


def test_a_row_of_the_table_is_opened_by_keyboard(page: Page, other: str) -> None:
    go(page, other, "front", study="done")
    page.get_by_role("radio", name="Table").focus()
    page.keyboard.press("Space")
    hear(page, "Front within the budgets")
    page.get_by_test_id("data-grid-canvas").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Space")
    expect(page.get_by_role("heading", name=re.compile(r"^Trial \d+$"))).to_be_visible()


@pytest.mark.parametrize("trial", ["²", "9" * 5000, "-1", "<script>", "999"])
def test_a_trial_that_is_not_there_is_said_to_be_none(page: Page, other: str, trial: str) -> None:
    for path in ("", "front", "trial"):
        go(page, other, path, study="done", trial=trial)
        hear(page, f"There is no trial {re.escape(trial[:10])}")
        assert page.get_by_test_id("stException").count() == 0


def test_a_study_that_is_not_there_is_said_to_be_none(page: Page, other: str) -> None:
    for path in ("", "front", "trial", "compare", "try_it"):
        go(page, other, path, study="<script>")
        hear(page, "There is no study <script> in this store")
        assert page.get_by_test_id("stException").count() == 0
    page.get_by_role("button", name="done", exact=True).click()
    expect(page.get_by_role("heading", name="done: try it")).to_be_visible()


def test_what_is_compared_is_what_was_chosen(page: Page, other: str) -> None:
    go(page, other, "compare", study="done")
    tags = page.locator("[data-tag]")
    first, second = (tag.split(":")[0].strip() for tag in tags.all_inner_texts())
    tags.nth(0).get_by_role("button").click()
    hear(page, "Choose two to four trials")
    third = next(str(n) for n in range(50, 60) if str(n) not in (first, second))
    page.get_by_role("combobox", name="Trials").fill(f"{third}: ")
    page.keyboard.press("Enter")
    hear(page, "All differences, and how they were taken")
    assert [t.split(":")[0].strip() for t in tags.all_inner_texts()] == [second, third]


def test_a_study_is_steered_and_noted_and_its_coordinator_hears_of_it(
    page: Page, states: Path, other: str
) -> None:
    go(page, other, study="running")
    page.get_by_text("Steer this study").click()
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_text(re.compile("pause is asked for"))).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop the study", exact=True).click()
    expect(page.get_by_text(re.compile("stop is asked for"))).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Extend").click()
    page.get_by_role("button", name="Add trials").click()
    expect(page.get_by_text("40 of 70")).to_be_visible()
    with_store(
        states, lambda s: s.studies.change(s.studies.get("running").id, state=StudyState.PAUSED)
    )
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.get_by_text(re.compile("resume is asked for"))).to_be_visible()
    go(page, other, "trial", study="running", trial=3)
    page.get_by_role("button", name="Cancel this trial").click()
    expect(page.get_by_text(re.compile("cancel is asked for"))).to_be_visible()
    taken = with_store(states, lambda s: s.commands.take(s.studies.get("running").id))
    assert [(c.kind, c.argument) for c in taken] == [
        ("pause", None),
        ("stop", None),
        ("extend", 10),
        ("resume", None),
        ("cancel", 3),
    ]
    with_store(
        states, lambda s: s.studies.change(s.studies.get("running").id, state=StudyState.RUNNING)
    )


def test_notes_and_tags_are_kept_and_dropped(page: Page, states: Path, other: str) -> None:
    go(page, other, "trial", study="done", trial=3)
    page.get_by_text(re.compile("Notes and tags")).click()
    for kind, text in (("tag", "favourite"), ("note", "sounds *right* to me")):
        page.get_by_role("radio", name=kind, exact=True).check(force=True)
        page.get_by_role("textbox", name="About trial 3").fill(text)
        page.get_by_role("button", name="Keep").click()
        expect(page.get_by_text(text)).to_be_visible()
    notes = with_store(states, lambda s: s.notes.of(s.studies.get("done").id))
    assert [(n.trial_number, n.kind, n.text, n.author) for n in notes] == [
        (3, "tag", "favourite", "local"),
        (3, "note", "sounds *right* to me", "local"),
    ]
    page.get_by_role("button", name="Drop").first.click()
    expect(page.get_by_text("favourite")).to_have_count(0)
    assert len(with_store(states, lambda s: s.notes.of(s.studies.get("done").id))) == 1
    page.get_by_role("button", name="Undo the last drop").click()
    expect(page.get_by_text("favourite", exact=False)).to_be_visible()
    assert len(with_store(states, lambda s: s.notes.of(s.studies.get("done").id))) == 2


def test_who_signs_in_may_look_and_only_operators_steer(page: Page, states: Path) -> None:
    with (
        providing() as provider,
        serving(states, secrets=lambda url: provider.secrets(url, ["ann@example.org"])) as url,
    ):
        go(page, url, study="running")
        assert "running" not in said(page)
        for mail, may_steer in (("bob@example.org", False), ("ann@example.org", True)):
            provider.mail = mail
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_role("button", name="Sign out")).to_be_visible()
            go(page, url, study="running")
            hear(page, r"40 of \d0")
            page.get_by_text("Steer this study").click()
            denied = page.get_by_text("it is not among the operators")
            expect(denied).to_have_count(0 if may_steer else 2)
            pause = page.get_by_role("button", name="Pause", exact=True)
            expect(pause).to_have_count(int(may_steer))
            page.get_by_role("button", name="Sign out").click()
            expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        assert CLIENT_SECRET not in page.content()
