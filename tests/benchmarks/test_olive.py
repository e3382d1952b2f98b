"""The teacher's own graph in our formats beside what Olive makes of the same file.

make bench ONLY=olive; Olive is installed by pip into a folder of its own, beside our ONNX Runtime.
BENCH_HOME keeps the teachers. Same file, same CPU, same dev set, one process; on the embedded
corpus and on recorded speech, where that is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import jiwer
import numpy as np
import pytest
import yaml
from folders import AN4

from search.home import Home
from search.results import TrialResults
from spaces.load import shipped_spaces
from spaces.recipe import Recipe
from storage.artifacts import ArtifactStore
from storage.store import Store
from workers.backends.base import open_session
from workers.compress.quantization.calibration import calibration_features
from workers.data.corpus import Corpus, spread
from workers.data.text import decode

TABLE = Path(__file__).parent / "tables" / "synthetic.yaml"
FORMATS = ["fp32", "fp16", "int8_dynamic", "int8_static", "int4"]
BY_PART = {"frontend": "int4", "encoder": ["int8_dynamic", "int8_static"], "head": "int4"}
OLIVE = (
    "olive-ai==0.13.0 opentelemetry-sdk opentelemetry-api opentelemetry-semantic-conventions "
    "questionary prompt_toolkit wcwidth torchmetrics lightning-utilities importlib_metadata zipp "
    "onnxscript deprecated wrapt"
).split()
ROUNDS, TIMED = 40, 8  # of all files in turn; utterances of a round


@pytest.fixture(scope="module", params=["synthetic", "an4"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "an4" and not AN4.exists():
        pytest.skip(f"the recorded corpus is not at {AN4}")
    kept = os.environ.get("BENCH_HOME")
    place = (Path(kept) if kept else tmp_path_factory.mktemp("olive")) / request.param
    place.mkdir(parents=True, exist_ok=True)
    return place


@pytest.fixture(scope="module")
def ours(place: Path) -> tuple[Corpus, dict[str, Path]]:
    """Searches of the teacher's graph in every format and by part, and their files."""
    file = TABLE if place.name == "synthetic" else shipped_spaces()["an4"]
    text = yaml.safe_load(file.read_text())
    own = {key: text[key] for key in ("data", "teacher")}
    if place.name == "an4":
        own["data"] = {split: str(AN4 / f"{split}.jsonl") for split in ("train", "dev")}
    own |= {"students": {"teacher": {}}, "search": {"parallel": 1, "confirm": False}}
    home = Home.at(place / "home")
    command = [sys.executable, "-c", "from search.cli import main; main()", "--home", home.folder]
    artifacts, files = ArtifactStore(home.artifacts_url), {}
    for name, quantize in (("own", {"scheme": FORMATS}), ("parts", BY_PART)):
        path, begun = place / f"{name}.yaml", time.monotonic()
        path.write_text(yaml.safe_dump({**own, "name": name, "quantize": quantize}))
        subprocess.run([*command, "launch", "--plain", "--space", path], check=True)
        print(f"\n{name}: {time.monotonic() - begun:.0f} s, the teacher included if new")
        with closing(Store(home.store_url)) as store:
            study = store.studies.get(name)
            for trial in store.trials.of(study.id):
                results = TrialResults.of(store.stage_runs.of(study.id, trial.number))
                assert results.export is not None
                formats = Recipe.model_validate(trial.recipe).quantize.label()
                kept = place / f"{formats}.onnx"
                files[f"ours {formats}"] = artifacts.fetch(results.export.model, kept)
    assert study.corpus is not None
    return Corpus(home.workspace().corpus(study.corpus)), files


@pytest.fixture(scope="module")
def theirs(place: Path, ours: tuple[Corpus, dict[str, Path]]) -> dict[str, Path]:
    corpus, files = ours
    packages, folder = place / "olive", place / "made"
    folder.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    if not (packages / "olive").exists():
        subprocess.run([*pip, "--target", str(packages), *OLIVE], check=True)
    np.savez(folder / "features.npz", *calibration_features(corpus))
    script = Path(__file__).parents[1] / "support" / "olive_passes.py"
    arguments = [str(files["ours fp32"]), str(folder / "features.npz"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    subprocess.run([sys.executable, script, *arguments], env=environment, check=True)
    said = json.loads((folder / "said.json").read_text())
    print("\n".join(f"Olive {n}: {s}" for n, s in said.items() if s != "done"))
    return {f"Olive {n}": folder / f"{n}.onnx" for n, s in said.items() if s == "done"}


def test_our_formats_beside_olives(
    ours: tuple[Corpus, dict[str, Path]], theirs: dict[str, Path]
) -> None:
    corpus, files = ours
    files = {**files, **theirs}
    sessions = {}
    for name, path in files.items():
        try:
            sessions[name] = open_session("onnxruntime", path)
        except Exception as error:
            print(f"{name}: ONNX Runtime does not load it: {str(error)[:160]}")
    errors = {name: _errors(session, corpus) for name, session in sessions.items()}
    words = sum(len(u.text.split()) for u in corpus.dev)
    times = _times_ms(sessions, corpus)
    print(f"\n{words} words of dev; graph: median of {ROUNDS} rounds in turn, one thread")
    print(f"{'':32}{'MB':>8}{'WER':>9}{'points to fp32 (95 %)':>26}{'graph ms (quartiles)':>28}")
    rng = np.random.default_rng(0)
    for name in sessions:
        size_mb = files[name].stat().st_size / 1e6
        gained = errors[name] - errors["ours fp32"]
        draws = rng.integers(0, len(gained), (2000, len(gained)))
        low, high = np.percentile(gained[draws].sum(1) / words, [2.5, 97.5])
        points = f"{gained.sum() / words:+.2%} ({low:+.2%} to {high:+.2%})"
        first, middle, third = np.percentile(times[name], [25, 50, 75])
        spread_ms = f"{middle:.3f} ({first:.3f} to {third:.3f})"
        wer = errors[name].sum() / words
        print(f"{name:32}{size_mb:>8.3f}{wer:>9.2%}{points:>26}{spread_ms:>28}")
    assert {"ours fp32", "ours int8_static"} <= set(sessions)


def _errors(session: object, corpus: Corpus) -> np.ndarray:
    """Word errors of each utterance of dev."""
    found = []
    for utterance in corpus.dev:
        log_probs = session.run(np.ascontiguousarray(corpus.frames(utterance)))  # type: ignore[attr-defined]
        text = decode(log_probs.argmax(-1).tolist(), corpus.symbols)
        counted = jiwer.process_words(utterance.text, text)
        found.append(counted.substitutions + counted.deletions + counted.insertions)
    return np.array(found)


def _times_ms(sessions: dict[str, object], corpus: Corpus) -> dict[str, np.ndarray]:
    """Of each round, the mean over some utterances, every file in turn."""
    by_length = sorted(corpus.dev, key=lambda u: u.seconds)
    some = [np.ascontiguousarray(corpus.frames(u)) for u in spread(by_length, TIMED)]
    spent: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(ROUNDS + 2):
        for name, session in sessions.items():
            begun = time.perf_counter()
            for features in some:
                session.run(features)  # type: ignore[attr-defined]
            spent[name].append((time.perf_counter() - begun) / len(some) * 1000)
    return {name: np.array(each[2:]) for name, each in spent.items()}
