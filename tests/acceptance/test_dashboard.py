"""The dashboard in a real browser, over a real finished study and over studies of every state."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from browser import figures_of, hear, said, serving, settled
from fabricated import alive, fabricate
from oidc import CLIENT_SECRET, providing
from playwright.sync_api import Browser, Page, expect

from search.cli.common import space_of
from storage.artifacts import ArtifactStore
from storage.records import StudyState
from storage.store import Store
from workers.data.utterances import dev_utterances

WIDTHS = ((1440, 900), (390, 844))
SCHEMES = ("light", "dark")
PAGES = ("", "front", "trial", "compare", "try_it")
PICTURES = os.environ.get("PICTURES")  # a folder for the screenshots
ROOT = Path(__file__).parents[2]

expect.set_options(timeout=20_000)

MARKUP = "<img src=x onerror=alert(1)><b>b</b>**s**[l](javascript:1)"
HOSTILE = f"{MARKUP}\x00\x1b[31m ../../etc/passwd $(id) {'é' * 10_000}"


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
def dashboard(finished: Path) -> Iterator[str]:
    """The address of the dashboard of a finished search."""
    with serving(finished) as url:
        yield url


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


@pytest.fixture(scope="module")
def other(states: Path) -> Iterator[str]:
    with serving(states) as url:
        yield url


def with_store(home: Path, do: Callable[[Store], Any]) -> Any:
    home.mkdir(parents=True, exist_ok=True)
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    try:
        return do(store)
    finally:
        store.close()


def go(page: Page, url: str, path: str = "", **query: object) -> Page:
    asked = "&".join(f"{k}={v}" for k, v in query.items())
    page.goto(f"{url}/{path}?{asked}")
    return settled(page)


def serious_faults(page: Page) -> list[str]:
    """What axe-core finds, in words."""
    found = Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {n['html'][:120]} {n['failureSummary'][:200]}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for n in v["nodes"]
    ]


def _looks_fine_everywhere(page: Page, name: str) -> None:
    """At both widths, in light and dark: no fault for axe, nothing that sticks out."""
    for width, height in WIDTHS:
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            settled(page)
            page.wait_for_timeout(300)  # colours fade
            assert serious_faults(page) == [], f"{name} at {width} px, {scheme}"
            wide = page.get_by_test_id("stMain").evaluate("e => e.scrollWidth - e.clientWidth")
            assert wide <= 0, f"{name} at {width} px is {wide} px too wide"
            if PICTURES:
                whole = page.get_by_test_id("stMain").evaluate("e => e.scrollHeight")
                page.set_viewport_size({"width": width, "height": min(whole + 20, 4000)})
                page.wait_for_timeout(500)
                page.screenshot(path=f"{PICTURES}/{name}-{width}-{scheme}.png")
                page.set_viewport_size({"width": width, "height": height})


@pytest.mark.parametrize("path", PAGES)
def test_every_page_of_a_finished_study_looks_fine(page: Page, dashboard: str, path: str) -> None:
    go(page, dashboard, path, study="tiny")
    hear(page, "tiny")
    _looks_fine_everywhere(page, path or "studies")


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
    _looks_fine_everywhere(page, name)
    go(page, other, "front", study=name)
    hear(page, "No trial has been measured yet" if name == "empty" else "trials meet these budgets")


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


def _slider(page: Page, name: str) -> Any:
    return page.get_by_role("slider", name=name)


def _count(page: Page) -> int:
    """How many trials meet the budgets, as the page says it."""
    match = re.search(r"(\d+) of \d+ complete trials meet", said(page))
    assert match is not None
    return int(match[1])


def test_budgets_are_chosen_by_keyboard_and_the_front_follows(page: Page, other: str) -> None:
    go(page, other, "front", study="done")
    every = _count(page)
    slider = _slider(page, "size at most")
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    expect(page.get_by_text(f"{every} of", exact=False)).to_have_count(0)
    settled(page)
    inside = _count(page)
    assert 0 < inside < every
    assert figures_of(page, "chart.data.some(t => t.name === 'beyond the budgets')")
    best = page.get_by_role("button", name=re.compile("Best here: trial"))
    number = re.search(r"trial (\d+)", best.inner_text())[1]  # type: ignore[index]
    best.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Trial {number}", exact=True)).to_be_visible()
    assert f"trial={number}" in page.url


def _click_point(page: Page, place: int) -> int:
    """Click a trial of the front in the first chart; the number that its tooltip told."""
    x, y = figures_of(
        page,
        f"""(() => {{
          const d = chart._fullData.find(
            d => d.ids && d.marker.size === 12 && d.ids.length > {place});
          const {{xaxis, yaxis}} = chart._fullLayout, box = chart.getBoundingClientRect();
          return [box.left + xaxis._offset + xaxis.d2p(d.x[{place}]),
                  box.top + yaxis._offset + yaxis.d2p(d.y[{place}])]
        }})()""",
    )
    page.mouse.move(x, y)
    tooltip = page.locator(".hoverlayer .hovertext").first
    expect(tooltip).to_contain_text(re.compile(r"trial \d+ .*WER \(%\): \d"))
    match = re.search(r"trial (\d+)", tooltip.text_content() or "")
    assert match is not None
    page.mouse.click(x, y)
    return int(match[1])


def test_a_click_on_a_point_opens_its_trial_and_every_view_shows_it(
    page: Page, dashboard: str
) -> None:
    go(page, dashboard, "front", study="tiny")
    number = _click_point(page, 0)
    expect(page.get_by_role("heading", name=f"Trial {number}", exact=True)).to_be_visible()
    for view in ("3-D", "Axes", "What matters", "Table", "Charts"):
        page.get_by_role("radio", name=view, exact=True).click()
        settled(page)
        expect(page.get_by_role("heading", name=f"Trial {number}", exact=True)).to_be_visible()
        assert page.get_by_test_id("stException").count() == 0
    page.get_by_role("link", name="Everything about this trial").click()
    expect(page.get_by_role("heading", name="Trial", exact=True)).to_be_visible()
    for part, words in (
        ("Errors", "of the words wrong"),
        ("Times", "Measured on"),
        ("Learning", r"WER on dev \(%\)"),
        ("Recipe", "learning_rate"),
        ("Stages", "measure@cpu"),
    ):
        page.get_by_role("radio", name=part, exact=True).click()
        hear(page, words)


def test_what_was_zoomed_and_boxed_stays_when_a_budget_redraws_the_charts(
    page: Page, other: str
) -> None:
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
    slider = _slider(page, "size at most")
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
    hear(page, "Only the front")
    page.get_by_test_id("data-grid-canvas").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Space")
    expect(page.get_by_role("heading", name=re.compile(r"^Trial \d+$"))).to_be_visible()


def test_figures_carry_units_and_say_where_they_were_measured(page: Page, dashboard: str) -> None:
    go(page, dashboard, "trial", study="tiny", trial=0)
    hear(page, r"Times and memory on cpu \(onnxruntime, 1 thread\)")
    for tile in page.get_by_test_id("stMetricValue").all_inner_texts():
        assert re.fullmatch(r"[\d.]+( ms| MB|%)", tile)


SHERPA = """
import json, sys, numpy as np, sherpa_onnx
folder, audio = sys.argv[1:]
recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(
    model=folder + "/model.onnx", tokens=folder + "/tokens.txt", num_threads=1)
stream = recognizer.create_stream()
stream.accept_waveform(16000, np.load(audio))
recognizer.decode_stream(stream)
print(json.dumps(stream.result.text))
"""


def test_one_click_exports_what_the_command_exports_and_sherpa_onnx_hears_with_it(
    page: Page, dashboard: str, finished: Path, cli: Any, tmp_path: Path
) -> None:
    number = with_store(finished, lambda s: _measured(s)[0])
    go(page, dashboard, "trial", study="tiny", trial=number)
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("^Export trial")).click()
    assert download.value.suggested_filename == f"tiny-trial-{number}-cpu.zip"
    got = Path(download.value.path()).read_bytes()
    theirs = tmp_path / "theirs.zip"
    done = cli("--home", finished, "export", "--trial", number, "--target", "cpu", theirs)
    assert done.returncode == 0, done.stderr
    assert _contents(got) == _contents(theirs.read_bytes())

    with zipfile.ZipFile(io.BytesIO(got)) as bundle:
        bundle.extractall(tmp_path / "student")
    entry, expected = with_store(finished, lambda s: _first_text(s, finished, number))
    heard, _ = soundfile.read(entry.audio, dtype="float32")
    np.save(tmp_path / "heard.npy", heard)
    said_by_sherpa = subprocess.run(
        [sys.executable, "-c", SHERPA, tmp_path / "student", tmp_path / "heard.npy"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(said_by_sherpa).strip() == expected


def _measured(store: Store) -> list[int]:
    study = store.studies.get("tiny")
    return [t.number for t in store.trials.of(study.id) if t.state in ("complete", "infeasible")]


def _first_text(store: Store, home: Path, number: int) -> tuple[Any, str]:
    """The first dev utterance, and what the trial made of it when it was scored."""
    study = store.studies.get("tiny")
    label = space_of(study).runtimes()[0].label
    runs = {r.stage: r.result for r in store.stage_runs.of(study.id, number)}
    texts = ArtifactStore(home / "artifacts").fetch(
        runs[f"score@{label}"]["texts"], home / "texts.json"
    )
    folder = home / "cache" / "corpora" / str(study.corpus)
    return dev_utterances(folder)[0], json.loads(texts.read_text())[0]


def _contents(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_students_and_teacher_write_what_a_recording_says(
    page: Page, dashboard: str, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / f"{MARKUP[:40].replace('/', '')}.wav", _tone(), 16_000)
    go(page, dashboard, "try_it", study="tiny")
    page.locator("input[type=file]").set_input_files(next(tmp_path.glob("*.wav")))
    expect(page.get_by_text("2.0 s of audio")).to_be_visible()
    hear(page, r"teacher\n[\s\S]*\n\d+\.\d ms", r"trial \d+\n[\s\S]*\n\d+\.\d ms")
    (tmp_path / "no.wav").write_bytes(b"RIFF nothing")
    page.locator("input[type=file]").set_input_files(tmp_path / "no.wav")
    expect(page.get_by_text("This recording cannot be read.")).to_be_visible()
    assert str(tmp_path) not in page.content()


def _tone() -> np.ndarray:
    return (0.1 * np.sin(np.arange(32_000) * 0.2)).astype(np.float32)


def test_two_trials_are_compared_with_intervals(page: Page, dashboard: str) -> None:
    go(page, dashboard, "compare", study="tiny")
    hear(page, r"Is it real\?", "95 % interval", "paired over", "Utterance by utterance")


def test_a_refresh_of_a_running_study_keeps_selection_and_scroll_position(
    page: Page, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    live = {"state": StudyState.RUNNING, "wanted": 90, "live": alive([])}
    with_store(home, lambda store: fabricate(store, "live", 30, **live))
    with serving(home) as url:
        go(page, url, "front", study="live")
        slider = _slider(page, "latency p95 at most")
        slider.focus()
        for _ in range(8):
            page.keyboard.press("ArrowLeft")
        hear(page, r"\b(?!30)\d+ of 30 complete")
        number = _click_point(page, 1)
        heading = page.get_by_role("heading", name=f"Trial {number}", exact=True)
        expect(heading).to_be_visible()
        settled(page)
        main = page.get_by_test_id("stMain")
        main.evaluate("e => e.scrollTo(0, 700)")
        limit, count = slider.get_attribute("aria-valuetext"), _count(page)

        with_store(home, lambda store: _more_trials(store, "live", 10))
        expect(page.get_by_text(f"{count} of 30 complete")).to_have_count(0)
        settled(page)
        assert main.evaluate("e => e.scrollTop") == 700
        assert slider.get_attribute("aria-valuetext") == limit
        expect(heading).to_be_visible()
        assert f"trial={number}" in page.url

        go(page, url, study="live")
        main.evaluate("e => e.scrollTo(0, 300)")
        page.get_by_text("Steer this study").click()
        with_store(home, lambda store: _more_trials(store, "live", 3))
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
        hear(page, "Only the front")
        page.get_by_test_id("data-grid-canvas").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Shift+Space")
        heading = page.get_by_role("heading", name=re.compile(r"^Trial \d+$"))
        expect(heading).to_be_visible()
        chosen = heading.inner_text()
        with_store(home, lambda store: _more_trials(store, "live", 5, better=0.8))
        hear(page, "of 35 complete")
        expect(heading).to_have_text(chosen)
        page.get_by_role("button", name=re.compile("^Knee: trial")).click()
        expect(heading).not_to_have_text(chosen)


@pytest.mark.parametrize("trial", ["²", "9" * 5000, "-1", "<script>"])
def test_an_address_that_means_nothing_opens_the_page(page: Page, other: str, trial: str) -> None:
    for path in ("front", "trial"):
        go(page, other, path, study="<script>", trial=trial)
        hear(page, "Front" if path == "front" else r"Trial \d+")
        assert page.get_by_test_id("stException").count() == 0


def test_what_is_compared_is_what_was_chosen(page: Page, other: str) -> None:
    go(page, other, "compare", study="done")
    tags = page.locator("[data-tag]")
    first, second = (tag.split(":")[0].strip() for tag in tags.all_inner_texts())
    tags.nth(0).get_by_role("button").click()
    hear(page, "Choose two to four trials")
    third = next(str(n) for n in range(50, 60) if str(n) not in (first, second))
    page.get_by_role("combobox", name="Trials").fill(f"{third}: ")
    page.keyboard.press("Enter")
    hear(page, r"Is it real\?")
    assert [t.split(":")[0].strip() for t in tags.all_inner_texts()] == [second, third]


def test_an_export_without_its_files_says_so(page: Page, finished: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(finished, tmp_path / "home"))
    shutil.rmtree(home / "artifacts")
    number = with_store(home, lambda s: _measured(s)[0])
    with serving(home) as url:
        go(page, url, "trial", study="tiny", trial=number)
        hear(page, "It cannot be exported: its files are no longer among the artifacts")
        assert page.get_by_role("button", name=re.compile("^Export trial")).count() == 0


def test_a_study_that_is_deleted_while_it_is_looked_at_gives_way_to_another(
    page: Page, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for name in ("stays", "goes"):
        with_store(home, lambda store, name=name: fabricate(store, name, 20))
    with serving(home) as url:
        go(page, url, "front", study="goes")
        with closing(sqlite3.connect(home / "store.sqlite")) as store, store:
            store.execute("DELETE FROM studies WHERE name = 'goes'")
        _slider(page, "size at most").focus()
        page.keyboard.press("ArrowLeft")
        expect(page.get_by_role("combobox", name="Study")).to_have_value("stays")
        assert page.get_by_test_id("stException").count() == 0


def _more_trials(store: Store, name: str, count: int, better: float = 1.0) -> None:
    """As a coordinator would: trials, and the event of each."""
    study = store.studies.get(name)
    known = store.trials.of(study.id)
    for number in range(len(known), len(known) + count):
        like = known[number % len(known)]
        trial = store.trials.add(
            study.id,
            number=number,
            values=like.values,
            recipe=like.recipe,
            recipe_digest=like.recipe_digest,
            label=like.label,
            source="sampler",
        )
        store.trials.save(
            trial.evolve(
                state=like.state,
                metrics={name: value * better for name, value in like.metrics.items()},
                finished_at=time.time(),
            )
        )
        store.events.add(study.id, "trial", f"trial {number}: complete", number)


def test_a_study_is_steered_and_noted_and_its_coordinator_hears_of_it(
    page: Page, states: Path, other: str
) -> None:
    go(page, other, study="running")
    page.get_by_text("Steer this study").click()
    for button in ("Pause", "Stop"):
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.get_by_text(re.compile(f"{button.lower()} is asked for"))).to_be_visible()
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


def test_a_read_only_dashboard_steers_and_writes_nothing_but_exports(
    page: Page, states: Path, finished: Path
) -> None:
    with serving(states, "--read-only") as url:
        go(page, url, study="running")
        hear(page, "This dashboard is read-only.")
        page.get_by_text("Steer this study").click()
        page.get_by_text(re.compile("Notes and tags")).click()
        go(page, url, "trial", study="running", trial=3)
        page.get_by_text(re.compile("Notes and tags")).click()
        for name in ("Pause", "Stop", "Resume", "Extend", "Cancel this trial", "Keep", "Drop"):
            assert page.get_by_role("button", name=name, exact=True).count() == 0
    with serving(finished, "--read-only") as url:
        number = with_store(finished, lambda s: _measured(s)[0])
        go(page, url, "trial", study="tiny", trial=number)
        with page.expect_download():
            page.get_by_role("button", name=re.compile("^Export trial")).click()


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
