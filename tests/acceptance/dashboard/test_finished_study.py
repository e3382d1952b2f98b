"""The dashboard in a real browser over a real finished study: its pages, students and exports."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import hear, serving, settled
from pages import MARKUP, PAGES, click_point, go, looks_fine_everywhere, with_store
from playwright.sync_api import Page, expect

from search.cli.common import space_of
from storage.artifacts import ArtifactStore
from storage.store import Store
from workers.data.utterances import dev_utterances


@pytest.fixture(scope="module")
def dashboard(finished: Path) -> Iterator[str]:
    """The address of the dashboard of a finished search."""
    with serving(finished) as url:
        yield url


@pytest.mark.parametrize("path", PAGES)
def test_every_page_of_a_finished_study_looks_fine(page: Page, dashboard: str, path: str) -> None:
    go(page, dashboard, path, study="tiny")
    hear(page, "tiny")
    looks_fine_everywhere(page, path or "studies")


def test_a_click_on_a_point_opens_its_trial_and_every_view_shows_it(
    page: Page, dashboard: str
) -> None:
    go(page, dashboard, "front", study="tiny")
    number = click_point(page, 0)
    expect(page.get_by_role("heading", name=f"Trial {number}", exact=True)).to_be_visible()
    for view in ("Free", "Axes", "What matters", "Table", "Charts"):
        page.get_by_role("radio", name=view, exact=True).click()
        settled(page)
        expect(page.get_by_role("heading", name=f"Trial {number}", exact=True)).to_be_visible()
        assert page.get_by_test_id("stException").count() == 0
    page.get_by_role("link", name="Everything about this trial").click()
    expect(page.get_by_role("heading", name="tiny: trial", exact=True)).to_be_visible()
    for part, words in (
        ("Errors", "of the words wrong"),
        ("Times", "Measured on"),
        ("Learning", r"WER on dev \(%\)"),
        ("Recipe", "learning_rate"),
        ("Stages", "measure@cpu"),
    ):
        page.get_by_role("radio", name=part, exact=True).click()
        hear(page, words)


def test_figures_carry_units_and_say_where_they_were_measured(page: Page, dashboard: str) -> None:
    go(page, dashboard, "trial", study="tiny", trial=0)
    hear(page, r"Times and memory on cpu \(onnxruntime, 1 thread\)")
    for tile in page.get_by_test_id("stMetricValue").all_inner_texts():
        assert re.fullmatch(r"[\d.]+( ms| MB|%)", tile)


def test_a_trial_of_the_front_says_what_it_is_worth_on_test(
    page: Page, dashboard: str, finished: Path
) -> None:
    trials = with_store(finished, lambda store: store.trials.of(store.studies.get("tiny").id))
    told = next(t for t in trials if "test_wer" in t.metrics)
    go(page, dashboard, "trial", study="tiny", trial=told.number)
    hear(page, f"On test, scored once.*WER {told.metrics['test_wer']:.1%}.*the teacher: WER")


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


@pytest.mark.parametrize(
    ("button", "form", "file"),
    [("As a page for browsers", "browser", "index.html"), ("For Triton", "triton", "config.pbtxt")],
)
def test_one_click_exports_the_other_forms(
    button: str, form: str, file: str, page: Page, dashboard: str, finished: Path
) -> None:
    if form == "browser" and shutil.which("npm") is None:
        pytest.skip("npm, which fetches onnxruntime-web, is not here")
    number = with_store(finished, lambda s: _measured(s)[0])
    go(page, dashboard, "trial", study="tiny", trial=number)
    with page.expect_download(timeout=120_000) as download:
        page.get_by_role("button", name=button).click()
    assert download.value.suggested_filename == f"tiny-trial-{number}-{form}.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        names = [Path(name).name for name in archive.namelist()]
    assert file in names and "bundle.json" in names


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


def test_an_export_without_its_files_says_so(page: Page, finished: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(finished, tmp_path / "home"))
    shutil.rmtree(home / "artifacts")
    number = with_store(home, lambda s: _measured(s)[0])
    with serving(home) as url:
        go(page, url, "trial", study="tiny", trial=number)
        hear(page, "It cannot be exported: its files are no longer among the artifacts")
        assert page.get_by_role("button", name=re.compile("^Export trial")).count() == 0


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


def test_students_and_teacher_write_what_a_recording_says(
    page: Page, dashboard: str, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / f"{MARKUP[:40].replace('/', '')}.wav", _tone(), 16_000)
    go(page, dashboard, "try_it", study="tiny")
    page.locator("input[type=file]").set_input_files(next(tmp_path.glob("*.wav")))
    expect(page.get_by_text("2.0 s of audio")).to_be_visible()
    spread = r"\d+\.\d ms \(\d+\.\d to \d+\.\d\)"
    hear(page, f"teacher · {spread}", rf"trial \d+ · {spread}")
    (tmp_path / "no.wav").write_bytes(b"RIFF nothing")
    page.locator("input[type=file]").set_input_files(tmp_path / "no.wav")
    expect(page.get_by_text("This recording cannot be read.")).to_be_visible()
    assert str(tmp_path) not in page.content()


def _tone() -> np.ndarray:
    return (0.1 * np.sin(np.arange(32_000) * 0.2)).astype(np.float32)


def test_two_trials_are_compared_with_intervals(page: Page, dashboard: str) -> None:
    go(page, dashboard, "compare", study="tiny")
    hear(page, r"WER.*: trial \d+", r"size: trial \d+ is \d+% (larger|smaller)|size: both")
    page.get_by_text("All differences, and how they were taken").click()
    hear(page, "95 % interval", "paired over", "Utterance by utterance")
