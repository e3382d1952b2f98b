"""Beam search is an axis like another: what ships is what was scored and timed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
from serving import served
from shell import SMALLEST_SPACE

Cli = Callable[..., subprocess.CompletedProcess[str]]
SPACE = (
    SMALLEST_SPACE[: SMALLEST_SPACE.index("students:")].replace(
        "train_utterances: 20, dev_utterances: 6, speakers: 4",
        "train_utterances: 150, dev_utterances: 20, speakers: 10",
    )
    + """students: {separable_conv: {channels: 48, blocks: 2}}
decode: {beam: [1, 12], lm_order: 4, lm_weight: 0.6}
training: {epochs: 8, learning_rate: 0.005, batch_s: 16}
targets: {cpu: {runs: 10, restarts: 1, tries: 1, max_s: 0.5}}
search: {trials: 2, parallel: 2, sampler: random, confirm: false}
"""
)


def test_a_beam_is_searched_scored_shipped_and_served(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "beam.yaml").write_text(SPACE)
    home = tmp_path / "home"
    done = cli("--home", home, "launch", "--plain", "--space", tmp_path / "beam.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train found done" in done.stdout, "both are one network"
    trials = json.loads(cli("--home", home, "front", "--all", "--json").stdout)
    with_beam, greedy = sorted(trials, key=lambda t: "decode" not in t["recipe"])
    assert with_beam["recipe"]["decode"] == {"beam": 12, "lm_order": 4, "lm_weight": 0.6}
    assert with_beam["metrics"]["wer"] != greedy["metrics"]["wer"]
    assert with_beam["metrics"]["size_mb"] > greedy["metrics"]["size_mb"], "the n-gram model ships"
    assert with_beam["metrics"]["decode_p50_ms"] > 2 * greedy["metrics"]["decode_p50_ms"]

    bundle = tmp_path / "bundle"
    assert cli("--home", home, "export", "--trial", with_beam["trial"], bundle).returncode == 0
    assert (bundle / "ngram.arpa").is_file() and (bundle / "decoding.json").is_file()
    again = cli("--home", home, "verify", "--no-times", "--json", bundle)
    figures = {f["metric"]: f for f in json.loads(again.stdout)["figures"]}
    assert figures["wer"]["holds"] and figures["size_mb"]["holds"], again.stdout
    page = ("export", "--trial", with_beam["trial"], "--form", "browser", tmp_path / "page")
    refused = cli("--home", home, *page)
    assert refused.returncode == 2 and "decodes greedily" in refused.stderr
    audio = next((home / "cache" / "synthetic").rglob("dev-*.flac"))
    said = cli("transcribe", bundle, audio).stdout.strip()
    with served(tmp_path, bundle, "--copies", 1) as server:
        heard = httpx.post(
            f"{server.url}/v1/audio/transcriptions",
            files={"file": ("a.flac", audio.read_bytes())},
            timeout=60,
        )
    assert heard.json()["text"] == said


def test_a_value_that_is_no_number_is_told(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "faulty.yaml").write_text(SPACE.replace("beam: [1, 12]", "beam: x"))
    done = cli("validate", tmp_path / "faulty.yaml")
    assert done.returncode == 2 and "beam" in done.stderr and "ValueError" not in done.stderr


def test_where_no_beam_can_be_it_is_told(tmp_path: Path, cli: Cli) -> None:
    faulty = SPACE.replace("beam: [1, 12]", "beam: 12").replace(
        "cpu: {", "cpu: {backend: openvino, "
    )
    (tmp_path / "faulty.yaml").write_text(faulty)
    done = cli("validate", tmp_path / "faulty.yaml")
    assert done.returncode == 2
    assert "beam search is for ONNX Runtime on this machine" in done.stderr
