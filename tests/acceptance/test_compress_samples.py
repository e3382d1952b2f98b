"""`search compress` of models on raw samples: what is packed hears samples, and says so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import jiwer
import pytest
from heard_samples import write_on_samples
from wav2vec2 import write_wav2vec2

from spaces.load import SHIPPED_FOLDER
from spaces.space import Synthetic
from workers.checkpoint import load_network
from workers.data.synthetic import synthetic_corpus
from workers.data.text import write_tokens

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spoken = Synthetic(train_utterances=30, dev_utterances=15, speakers=6)
    return synthetic_corpus(spoken, tmp_path_factory.mktemp("cache"))["dev"]


@pytest.fixture(scope="module")
def package(
    dev: Path, cli: Cli, quick_target: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of the teacher that comes with the package, its filter bank in the graph."""
    folder = tmp_path_factory.mktemp("samples")
    network, symbols, _ = load_network(SHIPPED_FOLDER / "teachers" / "spoken.safetensors")
    write_on_samples(network, folder / "model.onnx")
    write_tokens(symbols, folder / "tokens.txt")
    done = cli(
        *("--home", folder / "home", "compress", "--model", folder / "model.onnx"),
        *("--as-recorded", "--data", dev, "--target-file", quick_target),
        *("--steps", "fp16", folder / "small"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "small"


@pytest.fixture
def recordings(dev: Path) -> dict[str, str]:
    """Their texts by path."""
    rows = map(json.loads, dev.read_text().splitlines())
    return {str(dev.parent / r["audio_filepath"]): r["text"] for r in rows}


def test_what_is_packed_transcribes_samples_as_well_as_what_was_brought(
    package: Path, recordings: dict[str, str], cli: Cli
) -> None:
    log = json.loads((package / "steps.json").read_text())
    assert log[0]["metrics"]["wer"] < 0.1 and log[1]["loss"]["value"] < 0.05
    assert log[1]["metrics"]["size_mb"] < 0.55 * log[0]["metrics"]["size_mb"]
    done = cli("transcribe", package, *recordings)
    assert done.returncode == 0, done.stderr
    texts = dict(line.split("\t") for line in done.stdout.splitlines())
    wanted = list(recordings.values())
    assert jiwer.wer(wanted, [texts[path] for path in recordings]) < 0.1


def test_its_card_says_that_it_is_not_for_sherpa_onnx_and_its_code_works(
    package: Path, recordings: dict[str, str], cli: Cli
) -> None:
    card = (package / "CARD.md").read_text()
    assert "NOT for sherpa-onnx" in card and "from_zipformer_ctc" not in card
    found = re.search(r"\n\n((?:    .*\n)*    import numpy, onnxruntime\n(?:    .*\n)*)", card)
    assert found is not None
    code = "".join(line.removeprefix("    ") for line in found[1].splitlines(keepends=True))
    recording = next(iter(recordings))
    read = f"import soundfile\nsamples, _ = soundfile.read({recording!r}, dtype='float32')\n"
    ran = subprocess.run(
        [sys.executable, "-c", read + code], cwd=package, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    said = cli("transcribe", package, recording).stdout
    assert ran.stdout.strip() == said.strip()


@pytest.mark.filterwarnings("ignore")  # of transformers' own making
def test_a_folder_of_hugging_face_is_made_smaller(
    dev: Path, cli: Cli, quick_target: Path, tmp_path: Path
) -> None:
    (tmp_path / "wav2vec2").mkdir()
    folder = write_wav2vec2(tmp_path / "wav2vec2")
    out = tmp_path / "small.zip"
    done = cli(
        *("--home", tmp_path / "home", "compress", "--model", folder, "--data", dev),
        *("--target-file", quick_target),
        *("--steps", "quantize,int4", "--loss-limit", 100, out),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(out) as packed:
        assert json.loads(packed.read("features.json"))["kind"] == "raw samples"
        log = json.loads(packed.read("steps.json"))
    sizes = [step["metrics"]["size_mb"] for step in log]
    assert len(log) == 3 and min(sizes[1:]) < sizes[0]
    assert cli("transcribe", out, next(dev.parent.glob("dev-*.flac"))).returncode == 0
    pruned = cli(
        *("--home", tmp_path / "home", "compress", "--model", folder, "--data", dev),
        *("--train", dev, "--steps", "prune", tmp_path / "pruned"),
    )
    assert pruned.returncode == 2
    assert "needs a network to train again" in pruned.stderr
