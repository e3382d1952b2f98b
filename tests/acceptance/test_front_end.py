"""`front_end:` is searched like the rest: what is measured, packed and told hears as it trained."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jiwer
import numpy as np
import pytest
from shell import SMALLEST_SPACE

from workers.data.audio import read_audio
from workers.recognizer import open_bundle

Cli = Callable[..., subprocess.CompletedProcess[str]]
SPACE = (
    SMALLEST_SPACE[: SMALLEST_SPACE.index("students:")].replace(
        "train_utterances: 20, dev_utterances: 6, speakers: 4",
        "train_utterances: 150, dev_utterances: 20, test_utterances: 8, speakers: 10",
    )
    + """students: {separable_conv: {channels: 48, blocks: 2}}
front_end:
  mels: [40, 80]
  shift_ms: [10, 20]
  sample_rate_hz: [8000, 16000]
forbid: [{front_end.mels: 80, front_end.shift_ms: 10}, {front_end.mels: 40, front_end.shift_ms: 20}]
training: {epochs: 10, learning_rate: 0.005, batch_s: 16}
quantize: {scheme: int8_dynamic}
gate: {long_audio: 100%}
targets:
  cpu: {runs: 10, restarts: 1, tries: 1, max_s: 0.5}
  fast: {filter_bank: fast, runs: 10, restarts: 1, tries: 1, max_s: 0.5}
search: {trials: 4, parallel: 2, sampler: random, confirm: false}
"""
)
SHERPA = """
import json, sys, numpy as np, sherpa_onnx
recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc({arguments})
texts = []
for name in json.loads(sys.stdin.read()):
    stream = recognizer.create_stream()
    stream.accept_waveform({rate}, np.load(name))
    recognizer.decode_stream(stream)
    texts.append(stream.result.text.strip())
print(json.dumps(texts))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("hearing")
    (folder / "hearing.yaml").write_text(SPACE)
    done = cli("--home", folder / "home", "launch", "--plain", "--space", folder / "hearing.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 trials complete" in done.stdout
    return folder / "home"


@pytest.fixture(scope="module")
def bundles(home: Path, cli: Cli) -> dict[tuple[int, float, int], Path]:
    """By mel bins, shift and sample rate."""
    found = {}
    for number in range(4):
        bundle = home.parent / str(number)
        done = cli("--home", home, "export", "--trial", number, bundle)
        assert done.returncode == 0, done.stderr
        told = json.loads((bundle / "features.json").read_text())
        key = told["n_mels"], told["frame_shift_ms"], told["sample_rate_hz"]
        found[key] = bundle
    return found


def test_every_front_end_is_told_by_its_trial(home: Path, cli: Cli) -> None:
    said = cli("--home", home, "front", "--all").stdout
    assert "40 mels" in said and "20 ms" in said and "8 kHz" in said
    shown = cli("--home", home, "show", "0").stdout
    assert "front_end" in shown


def test_a_package_says_what_its_model_hears_and_transcribes_so(
    bundles: dict[tuple[int, float, int], Path], home: Path
) -> None:
    assert set(bundles) == {(40, 10, 8000), (40, 10, 16_000), (80, 20, 8000), (80, 20, 16_000)}
    (dev,) = (home / "cache" / "synthetic").glob("*/dev.jsonl")
    listed = [json.loads(line) for line in dev.read_text().splitlines()]
    for bundle in bundles.values():
        recognizer = open_bundle(bundle)
        recordings = (read_audio(str(dev.parent / u["audio_filepath"])) for u in listed)
        texts = [recognizer.transcribe(recording) for recording in recordings]
        recognizer.session.close()
        told = json.loads((bundle / "measurements.json").read_text())["student"]
        wer = next(m["value"] for m in told if m["metric"] == "wer")
        assert jiwer.wer([u["text"] for u in listed], texts) == pytest.approx(wer, abs=0.05)
        assert any(texts)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_sherpa_onnx_is_told_mel_bins_and_sample_rate_and_writes_the_same(
    rate: int, bundles: dict[tuple[int, float, int], Path], home: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sherpa_onnx", reason="the extra sherpa is not installed")
    bundle = bundles[40, 10, rate]
    card = (bundle / "CARD.md").read_text()
    found = re.search(r"from_zipformer_ctc\((.*?)\n    \)", card, re.S)
    assert found is not None
    arguments = found[1].replace('"model.onnx"', f'"{bundle}/model.onnx"')
    arguments = arguments.replace('"tokens.txt"', f'"{bundle}/tokens.txt"')
    recordings = sorted((home / "cache" / "synthetic").glob("*/*.flac"))[:20]
    recognizer = open_bundle(bundle)
    names, ours = [], []
    for i, recording in enumerate(recordings):
        samples = read_audio(str(recording))
        ours.append(recognizer.transcribe(samples))
        np.save(tmp_path / f"{i}.npy", _at(rate, samples))
        names.append(str(tmp_path / f"{i}.npy"))
    recognizer.session.close()
    done = subprocess.run(
        [sys.executable, "-c", SHERPA.format(arguments=arguments, rate=rate)],
        input=json.dumps(names),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ours
    assert any(ours)


def _at(rate_hz: int, samples: np.ndarray) -> np.ndarray:
    import soxr

    return samples if rate_hz == 16_000 else soxr.resample(samples, 16_000, rate_hz)


def test_a_package_that_sherpa_onnx_cannot_be_told_of_says_so(
    bundles: dict[tuple[int, float, int], Path],
) -> None:
    card = (bundles[80, 20, 16_000] / "CARD.md").read_text()
    assert "NOT for sherpa-onnx" in card and "20.0 ms" in card
    assert "from_zipformer_ctc" not in card


def test_what_hears_8_khz_is_not_timed_in_turn_with_what_hears_16(
    home: Path, cli: Cli, bundles: dict[tuple[int, float, int], Path]
) -> None:
    numbers = {key: bundle.name for key, bundle in bundles.items()}
    low, high = numbers[40, 10, 8000], numbers[40, 10, 16_000]
    refused = cli("--home", home, "compare", "--again", low, high)
    assert refused.returncode == 2
    assert "one hears 8 kHz and the other 16" in refused.stderr
    both = cli("--home", home, "compare", "--again", low, numbers[80, 20, 8000])
    assert both.returncode == 0, both.stderr


def test_a_target_may_compute_features_by_the_fast_filter_bank(
    home: Path, cli: Cli, tmp_path: Path, bundles: dict[tuple[int, float, int], Path]
) -> None:
    found = json.loads(cli("--home", home, "front", "--all", "--json").stdout)
    for trial in found:
        metrics = trial["metrics"]
        assert metrics["features_p50_ms@fast"] < metrics["features_p50_ms"]
        assert metrics["text_diff_share@fast"] == 0
    bundle, usual = tmp_path / "fast", bundles[40, 10, 16_000]
    called = ("--home", home, "export", "--trial", usual.name, "--target", "fast", bundle)
    assert cli(*called).returncode == 0
    assert json.loads((bundle / "bundle.json").read_text())["filter_bank"] == "fast"
    assert open_bundle(bundle).has_fast_features and not open_bundle(usual).has_fast_features
    recording = next((home / "cache" / "synthetic").glob("*/dev-*.flac"))
    texts = [cli("transcribe", b, recording).stdout for b in (bundle, usual)]
    assert texts[0] == texts[1]
