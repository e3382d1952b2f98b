"""Targets that cannot be reached or used, and baselines that none can run."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles import write_bundle, write_text
from lists import Corpus
from refusals import Refused

from search.cli.main import run

PI5 = 'targets: {pi5: {agent: "https://pi5.example:8765", token_env: SEARCH_NO_SUCH_TOKEN}}\n'
NO_TOKEN = "https://pi5.example:8765: the variable SEARCH_NO_SUCH_TOKEN with its token is not set"


def test_a_search_does_not_start_without_the_token_of_a_device(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    space = corpus.space(end=PI5)
    said = refused("--home", home, "launch", "--plain", "--space", space)
    assert f"targets.pi5: {NO_TOKEN}" in said
    assert not home.exists()


def test_a_device_without_its_token_is_found_refused(
    home: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    space = corpus.space(end=PI5)
    assert run(["--home", str(home), "devices", "check", "--space", str(space)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("FAIL pi5 (onnxruntime on https://pi5.example:8765): refused: ")
    assert NO_TOKEN in said


def test_a_device_without_its_token_is_not_calibrated(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    space = corpus.space(end=PI5)
    said = refused("--home", home, "devices", "calibrate", "pi5", "--space", space)
    assert f"search: {NO_TOKEN}" in said


def test_faults_of_all_targets_are_told_at_once(
    refused: Refused, home: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.backends.environments.missing_modules", lambda info: ["openvino"])
    space = corpus.space(end=PI5.replace("{pi5:", "{ov: {backend: openvino}, pi5:"))
    said = refused("--home", home, "launch", "--plain", "--space", space)
    assert (
        'targets.ov: backend "openvino" needs the extra: pip install "compression-search[openvino]"'
    ) in said
    assert f"targets.pi5: {NO_TOKEN}" in said


def test_a_runtime_that_comes_along_is_not_installed_anew(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backends", "install", "onnxruntime"]) == 0
    assert "onnxruntime: is installed" in capsys.readouterr().out
    monkeypatch.setattr("workers.backends.environments.is_installed", lambda info: False)
    assert ('backend "onnxruntime" needs no environment of its own: it comes along') in refused(
        "backends", "install", "onnxruntime"
    )
    assert (
        'backend "openvino" needs no environment of its own: pip install '
        '"compression-search[openvino]"'
    ) in refused("backends", "install", "openvino")


BASELINES = {
    "missing": (lambda p: p / "gone.zip", "{path}: no such bundle"),
    "no bundle": (lambda p: write_text(p / "b.zip", "no zip"), "{path}: is neither a bundle's"),
    "of another runtime": (
        lambda p: write_bundle(p / "b", '{"backend": "openvino", "main": "model.onnx"}'),
        "{path}: is made for openvino, not for ONNX Runtime",
    ),
}


@pytest.mark.parametrize("kind", BASELINES)
def test_a_baseline_that_cannot_be_compared_with_is_told_before_anything_starts(
    refused: Refused, home: Path, corpus: Corpus, tmp_path: Path, kind: str
) -> None:
    make, said = BASELINES[kind]
    path = make(tmp_path)
    space = corpus.space(end=f"gate: {{regression: {{against: {path}}}}}\n")
    told = refused("--home", home, "launch", "--plain", "--space", space)
    assert f"gate.regression: {said.format(path=path)}" in told
    assert not (home / "work").exists()
    # mended, the same study starts: here as far as its next fault
    space = corpus.space(train=tmp_path / "gone.jsonl")
    assert "gone.jsonl: no such file" in refused("--home", home, "launch", "--space", space)


@pytest.mark.parametrize("target", ["{backend: openvino}", "{adb: R58M123}"])
def test_a_baseline_that_no_target_can_run_is_told(
    refused: Refused, home: Path, corpus: Corpus, tmp_path: Path, target: str
) -> None:
    if "openvino" in target:
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    path = write_bundle(tmp_path / "b")
    gate = f"gate: {{regression: {{against: {path}}}}}\nobjectives: [wer]\n"
    space = corpus.space(end=f"{gate}targets: {{x: {target}}}\n")
    told = refused("--home", home, "launch", "--plain", "--space", space)
    assert "gate.regression: no target runs ONNX Runtime, as the baseline does" in told
