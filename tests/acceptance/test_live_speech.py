"""`task: streaming` through the front door: searched, measured, told, packed and used."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from serving import metric, served
from shell import SMALLEST_SPACE

from workers.data.audio import read_audio
from workers.recognizer import open_bundle

Cli = Callable[..., subprocess.CompletedProcess[str]]
SPACE = (
    SMALLEST_SPACE[: SMALLEST_SPACE.index("students:")]
    + """task: both
streaming: {chunk_ms: 320, look_ahead_ms: [0, 80]}
students: {separable_conv: {channels: 32, blocks: 2}}
training: {epochs: 2, batch_s: 16}
quantize: {scheme: [fp32, int8_dynamic]}
forbid: [{streaming.chunk_ms: 0, quantize.scheme: fp32}]
targets: {cpu: {runs: 10, restarts: 1, tries: 1, max_s: 0.5}}
objectives: [wer, latency_p95_ms, size_mb]
search: {trials: 5, parallel: 2, sampler: random, confirm: false}
"""
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("live")
    (folder / "live.yaml").write_text(SPACE)
    done = cli("--home", folder / "home", "launch", "--plain", "--space", folder / "live.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 of 5 trials complete" in done.stdout
    return folder / "home"


@pytest.fixture(scope="module")
def trials(home: Path, cli: Cli) -> list[dict[str, object]]:
    return json.loads(cli("--home", home, "front", "--all", "--json").stdout)


def test_live_students_have_the_figures_of_live_speech(
    trials: list[dict[str, object]],
) -> None:
    live = [t for t in trials if "streaming" in t["recipe"]["student"]]
    assert len(trials) == 5 and len(live) == 4
    for trial in live:
        metrics = trial["metrics"]
        assert 0 < metrics["chunk_p50_ms"] <= metrics["chunk_p95_ms"]
        assert metrics["chunk_rtf"] == pytest.approx(metrics["chunk_p95_ms"] / 320, rel=1e-6)
        assert metrics["final_ms"] > 0
    whole = next(t for t in trials if t not in live)
    assert "chunk_p50_ms" not in whole["metrics"]


def test_a_package_of_one_says_how_it_hears(
    home: Path, cli: Cli, trials: list[dict[str, object]], tmp_path: Path
) -> None:
    wanted = {"chunk_ms": 320, "look_ahead_ms": 80}
    live = next(t for t in trials if t["recipe"]["student"].get("streaming") == wanted)
    done = cli("--home", home, "export", "--trial", live["trial"], tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    features = json.loads((tmp_path / "bundle" / "features.json").read_text())
    assert features["streaming"] == wanted
    card = (tmp_path / "bundle" / "CARD.md").read_text()
    assert "OnlineRecognizer.from_zipformer2_ctc" in card and "320 ms at a time" in card
    assert "chunk_p95_ms" in card
    audio = next((home / "cache" / "synthetic").rglob("*.flac"))
    said = cli("transcribe", tmp_path / "bundle", audio)
    assert said.returncode == 0, said.stderr
    assert open_bundle(tmp_path / "bundle").transcribe(read_audio(audio)) in said.stdout


def test_several_of_the_front_are_one_package_with_a_policy(
    home: Path, cli: Cli, tmp_path: Path
) -> None:
    done = cli("--home", home, "export", "--front", tmp_path / "front")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "front" / "policy.json").read_text())
    members = told["members"]
    assert [m["wer"] for m in members] == sorted(m["wer"] for m in members)
    times = [m["service_ms"]["cpu"] for m in members]
    assert times == sorted(times, reverse=True)
    for member in members:
        assert open_bundle(tmp_path / "front" / "members" / member["name"]).symbols
    assert "class Policy" in (tmp_path / "front" / "policy.py").read_text()
    audio = next((home / "cache" / "synthetic").rglob("*.flac"))
    with served(tmp_path, tmp_path / "front", "--copies", 1) as server:
        heard = httpx.post(
            f"{server.url}/v1/audio/transcriptions",
            files={"file": ("a.flac", audio.read_bytes())},
            timeout=60,
        )
        assert heard.status_code == 200 and "text" in heard.json()
        assert metric(httpx.get(f"{server.url}/metrics").text, "search_serve_chosen_total") == 1
    again = cli("--home", home, "export", "--front", tmp_path / "front")
    assert again.returncode == 2 and "--overwrite" in again.stderr
    none = cli("--home", home, "export", "--front", "--where", "size_mb<=0.001", tmp_path / "none")
    assert none.returncode == 2 and not (tmp_path / "none").exists()


def test_faults_of_a_live_space_are_told_all_at_once(tmp_path: Path, cli: Cli) -> None:
    faulty = (
        SPACE.replace("task: both", "task: streaming")
        .replace("chunk_ms: 320", "chunk_ms: 333")
        .replace(
            "students: {separable_conv: {channels: 32, blocks: 2}}",
            "students: {paraformer: {}, dsconv_lstm: {bidirectional: [true, false]}}",
        )
        .replace("sampler: random", "sampler: random, weight_sharing: on")
    )
    (tmp_path / "faulty.yaml").write_text(faulty)
    done = cli("validate", tmp_path / "faulty.yaml")
    assert done.returncode == 2
    for words in ("multiple of 40", "hears whole utterances only", "bidirectional", "supernet"):
        assert words in done.stderr + done.stdout, words


def test_a_section_that_nobody_reads_is_a_fault(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "idle.yaml").write_text(
        SPACE.replace("task: both\n", "").replace(
            "forbid: [{streaming.chunk_ms: 0, quantize.scheme: fp32}]\n", ""
        )
    )
    done = cli("validate", tmp_path / "idle.yaml")
    assert done.returncode == 2 and "`task` is streaming or both" in done.stderr + done.stdout
