"""Our filter bank beside Kaldi's: how long each takes, and how many texts differ.

make bench ONLY=filter_bank; the teacher that comes with the package in every number format, on
2,000 utterances of voices it never heard, and on the recorded dev set where there is one.
"""

from __future__ import annotations

import json
import timeit
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from folders import AN4

from spaces.front_end import FrontEnd
from spaces.load import SHIPPED_FOLDER
from spaces.recipe import PARTS, Quantize
from spaces.space import Data, Synthetic, Tokens
from workers.backends.base import open_session
from workers.checkpoint import load_network
from workers.data.audio import read_audio
from workers.data.corpus import Corpus
from workers.data.features import fbank
from workers.data.features_numpy import fbank_numpy
from workers.data.prepare import prepare
from workers.data.text import decode
from workers.export.student import export_student
from workers.workspace import Workspace

FORMATS = ("fp32", "fp16", "int8_dynamic", "int8_static", "int4")
DATA = Data(
    synthetic=Synthetic(train_utterances=400, dev_utterances=2000, speakers=85), speeds=(1.0,)
)


@pytest.mark.parametrize("front_end", [FrontEnd(), FrontEnd(mels=40), FrontEnd(shift_ms=20)])
def test_how_long_each_takes(front_end: FrontEnd) -> None:
    print(f"\n{front_end.label() or 'usual front end'}")
    for seconds in (1.0, 2.5, 5.0):
        samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000))
        samples = samples.astype(np.float32)
        runs = [
            timeit.repeat(partial(by, samples, front_end), number=20, repeat=15)
            for by in (fbank, fbank_numpy)
        ]
        kaldi, ours = (1000 * float(np.median(run)) / 20 for run in runs)
        print(f"{seconds} s: Kaldi's {kaldi:.2f} ms, ours {ours:.2f} ms ({kaldi / ours:.1f}×)")


def test_how_many_texts_differ(workspace: Workspace, tmp_path: Path) -> None:
    folder, _ = prepare(DATA, Tokens(), 4, workspace.cache)
    corpus = Corpus(folder)
    network, symbols, _ = load_network(SHIPPED_FOLDER / "teachers" / "spoken.safetensors")
    heard = {"spoken": [corpus.samples(u) for u in corpus.dev]}
    if AN4.exists():
        rows = [json.loads(line) for line in (AN4 / "dev.jsonl").read_text().splitlines()]
        heard["recorded"] = [read_audio(str(AN4 / row["audio_filepath"])) for row in rows]
    features = {
        name: [(fbank(samples), fbank_numpy(samples)) for samples in recordings]
        for name, recordings in heard.items()
    }
    for name, pairs in features.items():
        apart = max(float(np.abs(a - b).max()) for a, b in pairs)
        print(f"\n{name}: {len(pairs)} utterances, features differ by {apart:.1e} at most")
    for scheme in FORMATS:
        into = tmp_path / scheme
        into.mkdir()
        parts = Quantize.model_validate(dict.fromkeys(PARTS, scheme))
        session = open_session(
            "onnxruntime", export_student(network, symbols, corpus, parts, into).model
        )
        for name, pairs in features.items():
            n_differing = sum(
                _text(session, a, symbols) != _text(session, b, symbols) for a, b in pairs
            )
            print(f"{scheme}, {name}: {n_differing} of {len(pairs)} texts differ")


def _text(session, features, symbols):
    return decode(session.run(features).argmax(-1).tolist(), symbols)
