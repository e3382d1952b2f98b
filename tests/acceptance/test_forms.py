"""Every form of a bundle writes the same text in its own ecosystem: a real Chromium, Triton's own
schema and a client as Triton would batch it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from playwright.sync_api import Browser, expect

from search.bundle.forms import triton_client
from search.bundle.forms.make import make_form
from search.bundle.write import features_contract, finish_bundle, write_json
from search.errors import UsageFault
from spaces.load import SHIPPED_FOLDER
from spaces.space import Data
from spaces.streaming import Streaming
from workers.checkpoint import load_network, save_network
from workers.data.audio import read_audio
from workers.data.check import split_paths
from workers.data.corpora import ManifestEntry, read_split
from workers.data.text import write_tokens
from workers.export.onnx import export_onnx
from workers.export.streaming import export_streaming
from workers.recognizer import open_bundle

Bundles = dict[str, Path]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    synthetic = {"train_utterances": 20, "dev_utterances": 30, "speakers": 10}
    data = Data.model_validate({"synthetic": synthetic})
    items = read_split(split_paths(data, tmp_path_factory.mktemp("cache"))["dev"], data)
    return [read_audio(i.audio) for i in items if isinstance(i, ManifestEntry)]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Of the shipped teacher, which knows this speech; and the same, hearing it live."""
    folder = tmp_path_factory.mktemp("forms")
    network, symbols, _ = load_network(SHIPPED_FOLDER / "teachers" / "spoken.safetensors")
    way = Streaming(chunk_ms=320, look_ahead_ms=160)
    dims = type(network.dims).model_validate({**network.dims.model_dump(), "streaming": way})
    network.dims = dims
    save_network(network, symbols, folder / "live.safetensors")
    live, _, _ = load_network(folder / "live.safetensors")

    def write(name: str, is_live: bool) -> Path:
        def fill(into: Path) -> dict[str, object]:
            (export_streaming if is_live else export_onnx)(
                live if is_live else network, symbols, into / "model.onnx"
            )
            write_tokens(symbols, into / "tokens.txt")
            told = features_contract(4, None)
            more = {"streaming": way.model_dump()} if is_live else {}
            write_json(into / "features.json", {**told, **more})
            return {"backend": "onnxruntime", "main": "model.onnx"}

        return finish_bundle(fill, folder / name, overwrite=True)

    return {"whole": write("whole.zip", False), "live": write("live.zip", True)}


@contextmanager
def at_home(folder: Path) -> Iterator[str]:
    """A page, served as its own serve.py does."""
    command = [sys.executable, str(folder / "serve.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()


@pytest.mark.parametrize("name", ["whole", "live"])
def test_the_page_writes_the_same_text_in_a_real_browser(
    name: str, bundles: Bundles, spoken: list[np.ndarray], tmp_path: Path, chromium: Browser
) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm, which fetches onnxruntime-web, is not here")
    page_folder = make_form("browser", bundles[name], tmp_path / "page", overwrite=False)
    recognizer = open_bundle(bundles[name])
    ours = [recognizer.transcribe(samples) for samples in spoken]
    assert len(set(ours)) > len(ours) / 2
    with at_home(page_folder) as url:
        page = chromium.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        expect(page.locator("#note")).to_contain_text("Ready")
        assert page.evaluate("self.crossOriginIsolated")
        assert page.evaluate("window.student.threads") > 1, "WASM with threads"
        theirs = [
            page.evaluate(
                "samples => window.student.transcribe(Float32Array.from(samples))",
                samples.tolist(),
            )
            for samples in spoken
        ]
        taken_ms = page.evaluate(
            "samples => window.student.time(Float32Array.from(samples), 5)",
            spoken[0].tolist(),
        )
        page.set_input_files("#file", _wav(spoken[0], tmp_path))
        expect(page.locator("#text")).not_to_be_empty()
        shown = page.locator("#text").text_content()
        page.close()
    assert [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b] == []
    assert shown == ours[0]
    assert 0 < taken_ms < 60_000
    assert faults == []
    assert all(each.startswith((url, "blob:")) for each in asked), "nothing leaves the machine"


def _wav(samples: np.ndarray, folder: Path) -> str:
    import soundfile

    soundfile.write(folder / "a.wav", samples, 16_000, subtype="FLOAT")
    return str(folder / "a.wav")


def test_tritons_own_schema_takes_the_configuration(bundles: Bundles, tmp_path: Path) -> None:
    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    made = make_form("triton", bundles["whole"], tmp_path / "my repo", overwrite=False)
    text = (made / "my_repo" / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.backend == "onnxruntime" and config.max_batch_size == 16
    assert config.dynamic_batching.max_queue_delay_microseconds == 3000
    assert config.version_policy.latest.num_versions == 2
    session = onnxruntime.InferenceSession(str(made / "my_repo" / "1" / "model.onnx"))
    for said, there in zip(config.input, session.get_inputs(), strict=True):
        rank = len(said.reshape.shape) if said.HasField("reshape") else len(said.dims)
        assert (said.name, 1 + rank) == (there.name, len(there.shape))
    for said, there in zip(config.output, session.get_outputs(), strict=True):
        rank = len(said.reshape.shape) if said.HasField("reshape") else len(said.dims)
        assert (said.name, 1 + rank) == (there.name, len(there.shape))


def test_tritons_client_writes_the_same_text_in_the_batches_that_triton_makes(
    bundles: Bundles, spoken: list[np.ndarray], tmp_path: Path
) -> None:
    made = make_form("triton", bundles["whole"], tmp_path / "repo", overwrite=False)
    told = json.loads((made / "client" / "features.json").read_text())
    symbols = triton_client.read_symbols(made / "client" / "tokens.txt")
    session = onnxruntime.InferenceSession(str(made / "repo" / "1" / "model.onnx"))
    requests = [
        triton_client.request_of(triton_client.features_of(samples, told)) for samples in spoken
    ]
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, (x, _) in enumerate(requests):
        by_shape.setdefault(x.shape, []).append(i)
    assert len(by_shape) < len(requests) / 2, "buckets bring requests together"
    texts = [""] * len(requests)
    for members in by_shape.values():
        x = np.concatenate([requests[i][0] for i in members])
        # as the batcher sends it: [N, 1], reshaped to [N]
        x_lens = np.concatenate([requests[i][1] for i in members]).reshape(-1)
        log_probs, lengths = session.run(None, {"x": x, "x_lens": x_lens})
        for i, row, n in zip(members, log_probs, lengths, strict=True):
            texts[i] = triton_client.text_of(row, int(n), symbols)
    recognizer = open_bundle(bundles["whole"])
    assert texts == [recognizer.transcribe(samples) for samples in spoken]


def test_a_form_that_is_not_for_a_bundle_is_refused(bundles: Bundles, tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="batches along the first axis"):
        make_form("triton", bundles["live"], tmp_path / "live", overwrite=False)
    assert not (tmp_path / "live").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(UsageFault, match="exists already"):
        make_form("triton", bundles["whole"], tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()
