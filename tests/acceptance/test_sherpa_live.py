"""sherpa-onnx's streaming recogniser, fed piece by piece, writes what ours does."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from spaces.families import FAMILIES
from spaces.load import parse_space
from spaces.recipe import PARTS, Quantize, Training
from spaces.streaming import Streaming
from workers.backends.base import open_session
from workers.data.audio import read_audio
from workers.data.check import split_paths
from workers.data.corpora import ManifestEntry, read_split
from workers.data.corpus import Corpus
from workers.data.prepare import prepare
from workers.export.student import export_student
from workers.recognizer import open_bundle
from workers.students.base import untrained_student
from workers.train.loop import Trainer

SMALL = {
    "separable_conv": {"channels": 48, "blocks": 3},
    "conformer": {"channels": 48, "blocks": 1, "heads": 2, "feed_forward": 96},
    "dsconv_lstm": {"channels": 48, "blocks": 2, "hidden": 48},
}
WAYS = {
    "separable_conv": Streaming(chunk_ms=320, look_ahead_ms=80),
    "conformer": Streaming(chunk_ms=640),
    "dsconv_lstm": Streaming(chunk_ms=160, look_ahead_ms=40),
}
SCHEMES = ("fp32", "int8_dynamic", "int4")
SHERPA = """
import json, sys, numpy as np, sherpa_onnx
folder, audio, window, shift, at_once = *sys.argv[1:3], *map(int, sys.argv[3:])
recognizer = sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc(
    model=folder + "/model.onnx", tokens=folder + "/tokens.txt", num_threads=1)
texts = []
def with_silence(samples):  # until as many windows were heard as of ours
    frames = (len(samples) + 80) // 160 + 44
    wanted = ((-(-frames // shift) - 1) * shift + window + 1) * 160
    return np.pad(samples, (0, wanted - len(samples)))
names = json.load(open(audio))
for begin in range(0, len(names), at_once):
    streams = []
    for name in names[begin:begin + at_once]:
        samples = np.load(name)
        stream = recognizer.create_stream()
        streams.append(stream)
        for piece in np.array_split(with_silence(samples), 7):
            stream.accept_waveform(16000, piece)
            while recognizer.is_ready(stream) and len(streams) % 3:
                recognizer.decode_stream(stream)
        stream.input_finished()
    while ready := [s for s in streams if recognizer.is_ready(s)]:
        recognizer.decode_streams(ready)  # several in one batch
    texts += [recognizer.get_result(s) for s in streams]
print(json.dumps(texts))
"""


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    space = parse_space(
        "name: t\ndata: {synthetic: {train_utterances: 150, dev_utterances: 40, speakers: 10}, "
        "speeds: [1.0]}\nteacher: {train: {}}\nstudents: {separable_conv: {}}\n",
        "t.yaml",
    )
    cache = tmp_path_factory.mktemp("cache")
    folder, _ = prepare(space.data, space.tokens, space.contract.subsampling_factor, cache)
    items = list(read_split(split_paths(space.data, cache)["dev"], space.data))
    return Corpus(folder), [read_audio(i.audio) for i in items if isinstance(i, ManifestEntry)]


@pytest.fixture(scope="module", params=sorted(SMALL))
def students(request, spoken, tmp_path_factory):
    """One trained student of a family, exported in several number formats."""
    corpus, _ = spoken
    torch.set_num_threads(1)
    torch.manual_seed(0)
    work = tmp_path_factory.mktemp(request.param)
    dims = FAMILIES[request.param](**SMALL[request.param], streaming=WAYS[request.param])
    network = untrained_student(dims, corpus)
    Trainer(network, corpus, Training(epochs=10, learning_rate=5e-3, batch_s=16), 0, work).run()
    folders = {}
    for scheme in SCHEMES:
        folder = folders[scheme] = work / scheme
        folder.mkdir()
        parts = Quantize(**dict.fromkeys(PARTS, scheme))
        exported = export_student(network, corpus.symbols, corpus, parts, folder)
        exported.model.rename(folder / "model.onnx")
        (folder / "tokens.txt").write_bytes((corpus.folder / "tokens.txt").read_bytes())
        (folder / "features.json").write_text(
            json.dumps({"streaming": dims.streaming.model_dump()})
        )
    return folders


@pytest.mark.parametrize("scheme", SCHEMES)
def test_live_sherpa_onnx_writes_the_same_text_for_every_utterance(
    scheme, students, spoken, tmp_path
):
    pytest.importorskip("sherpa_onnx", reason="the extra sherpa is not installed")
    names = []
    for i, samples in enumerate([*spoken[1], spoken[1][0][:3200], np.concatenate(spoken[1][:12])]):
        np.save(tmp_path / f"{i}.npy", samples)
        names.append(str(tmp_path / f"{i}.npy"))
    (tmp_path / "list.json").write_text(json.dumps(names))
    recognizer = open_bundle(students[scheme])
    assert recognizer.is_live
    ours = [recognizer.transcribe(np.load(n)) for n in names]
    assert sum(map(bool, ours)) > len(ours) / 2, "too little text to compare"
    windows = open_session("onnxruntime", students[scheme] / "model.onnx").windows
    # ranges of 8-bit activations are of a whole batch: there streams that are heard together differ
    at_once = 1 if scheme == "int8_dynamic" else 4
    told = map(str, (windows.window, windows.shift, at_once))
    given = [str(students[scheme]), str(tmp_path / "list.json"), *told]
    done = subprocess.run([sys.executable, "-c", SHERPA, *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = [t.strip() for t in json.loads(done.stdout)]
    assert [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b] == []


def test_word_times_lie_within_the_utterance(students, spoken):
    recognizer = open_bundle(students["fp32"])
    for samples in spoken[1][:5]:
        words = recognizer.words(samples)
        assert all(0 <= w.start_s < w.end_s <= len(samples) / 16_000 for w in words)
