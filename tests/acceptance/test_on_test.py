"""What the test set says of a finished search is told by every door, and by the file that ships."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spaces.metrics import TEST_METRICS

Call = Callable[..., str]


@pytest.fixture(scope="module")
def call(finished: Path, cli: Callable[..., Any]) -> Call:
    def run(*arguments: object) -> str:
        done = cli("--home", finished, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    return run


@pytest.fixture(scope="module")
def trials(call: Call) -> list[dict[str, Any]]:
    return list(json.loads(call("front", "--all", "--json")))


@pytest.fixture(scope="module")
def front(call: Call) -> list[dict[str, Any]]:
    return list(json.loads(call("front", "--json")))


def test_the_front_has_figures_of_test_and_no_other_trial_has(
    trials: list[dict[str, Any]], front: list[dict[str, Any]]
) -> None:
    told = {t["trial"] for t in trials if "test_wer" in t["metrics"]}
    assert told == {t["trial"] for t in front}
    for trial in front:
        wer, low, high, cer = (trial["metrics"][name] for name in TEST_METRICS)
        assert 0 <= low <= wer <= high
        assert cer >= 0


def test_the_file_that_ships_makes_these_errors_on_that_set(
    call: Call, finished: Path, front: list[dict[str, Any]], tmp_path: Path
) -> None:
    best, bundle = front[0], tmp_path / "student.zip"
    call("export", "--trial", best["trial"], bundle)
    (spoken,) = (finished / "cache" / "synthetic").glob("*/test.jsonl")
    found = json.loads(call("evaluate", bundle, spoken, "--json"))
    assert found["n_utterances"] == 12
    (evaluated,) = found["bundles"]
    for name in ("wer", "cer"):
        assert evaluated[name]["value"] == pytest.approx(best["metrics"][f"test_{name}"])
    for end in ("low", "high"):
        assert evaluated["wer"][end] == pytest.approx(best["metrics"][f"test_wer_{end}"])


def test_every_door_tells_them_and_calls_them_so(
    call: Call, front: list[dict[str, Any]], tmp_path: Path
) -> None:
    best = front[0]
    wer = f"{best['metrics']['test_wer']:.1%}"
    once = "scored once, when the search had ended, and nothing was chosen by it"
    table = call("front")
    assert once in " ".join(table.split())
    assert wer in table
    row = next(csv.DictReader(io.StringIO(call("front", "--csv"))))
    assert float(row["test_wer"]) == best["metrics"]["test_wer"]
    said = call("show", best["trial"])
    assert f"on test ({once}): WER {wer} (95 %: " in said
    assert "the teacher on test: WER " in said
    call("report", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<th>test WER (%)</th>" in page
    assert f"<p>Test: {once}.</p>" in page
    assert f"<td>{wer}</td>" in page
    call("export", "--trial", best["trial"], tmp_path / "b")
    card = (tmp_path / "b" / "CARD.md").read_text()
    assert f"On the study's test set: WER {wer} (95 %: " in card
    measured = json.loads((tmp_path / "b" / "measurements.json").read_text())
    assert measured["test"]["student"]["test_wer"] == best["metrics"]["test_wer"]
    assert "test_wer" in measured["test"]["teacher"]


def test_nobody_chooses_by_them(
    cli: Callable[..., Any], finished: Path, front: list[dict[str, Any]], tmp_path: Path
) -> None:
    for arguments in (
        ("front", "--where", "test_wer<=50%"),
        ("export", "--best", "test_wer", tmp_path / "b"),
        ("pick", "--where", "test_cer<=50%"),
    ):
        done = cli("--home", finished, *arguments)
        assert done.returncode == 2
        assert "tells of the test set, which nothing is chosen by" in done.stderr
