"""A report is one page that needs nothing else, and tells nothing that it should not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fabricated import QUICKSTART, fabricate

from search.analysis.trial_frame import study_frame
from search.cli.common import space_of
from search.report.front_charts import front_figures
from search.report.page import write_front, write_report
from search.report.png import write_png
from storage.records import Study
from storage.store import Store

_APART = """() => {
  const boxes = [...document.querySelectorAll('.charts > div')];
  return boxes.slice(0, -1).every(b => b.querySelector('.main-svg').clientWidth <= b.clientWidth)
}"""
MARKUP = "</script><img src=x onerror=alert(1)><b>bold</b>"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'store.sqlite'}")


def page_of(store: Store, study: Study, folder: Path) -> Path:
    path = folder / "report.html"
    write_report(path, store, study, space_of(study))
    return path


def without_scripts(text: str) -> str:
    return re.sub(r"<script.*?</script>", "", text, flags=re.S)


def test_it_names_every_trial_of_the_front_with_units(store: Store, tmp_path: Path) -> None:
    study = fabricate(store, "some", 40)
    text = without_scripts(page_of(store, study, tmp_path).read_text())
    on_front = set(re.findall(r"<tr[^>]*><td>(\d+)</td>", text))
    assert {f"trial {n}:" for n in on_front} <= set(re.findall(r"trial \d+:", text))
    assert "latency p95 (ms)" in text
    assert "40 trials (40 complete)" in text
    assert "Teacher: WER 5.0%" in text


def test_it_loads_nothing(store: Store, tmp_path: Path) -> None:
    text = page_of(store, fabricate(store, "some", 20), tmp_path).read_text()
    assert not re.search(
        r"<(script|img|iframe|audio)[^>]*\ssrc\s*=|<link|@import", without_scripts(text)
    )
    assert not re.search(r"<script[^>]+src", text)


def test_what_others_named_is_text(store: Store, tmp_path: Path) -> None:
    study = fabricate(
        store, MARKUP, 12, text=QUICKSTART.replace("description: ", f"description: '{MARKUP}' #")
    )
    text = page_of(store, study, tmp_path).read_text()
    assert "<img" not in without_scripts(text)
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_study_that_has_hardly_begun_has_a_report(
    store: Store, tmp_path: Path, count: int
) -> None:
    text = page_of(store, fabricate(store, "young", count), tmp_path).read_text()
    assert f"{count} trials" in text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize("objectives", ["[wer]", "[wer, latency_p95_ms, size_mb]"])
def test_a_front_is_drawn_alone_however_little_is_known(
    store: Store, tmp_path: Path, objectives: str, count: int
) -> None:
    text = re.sub("(?m)^objectives:.*$", f"objectives: {objectives}", QUICKSTART)
    study = fabricate(store, "some", count, text=text)
    space = space_of(study)
    frame = study_frame(store, study, space)
    write_front(tmp_path / "front.html", study, space, frame)
    figures = front_figures(study, space, frame)
    write_png(tmp_path / "front.png", figures, "some")
    assert (tmp_path / "front.html").read_text().count("Plotly.newPlot(") >= len(figures)
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    assert all(f.layout.xaxis.title.text != f.layout.yaxis.title.text for f in figures)


def test_a_browser_without_a_network_shows_its_charts(
    store: Store, tmp_path: Path, chromium: Any
) -> None:
    path = page_of(store, fabricate(store, MARKUP, 60), tmp_path)
    context = chromium.new_context(color_scheme="dark", viewport={"width": 390, "height": 844})
    context.set_offline(True)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri())
    assert page.locator(".js-plotly-plot .main-svg:first-child").count() == 5
    assert page.locator(".scatterlayer path.point").count() > 60
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_function(_APART)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults == []
    context.close()
