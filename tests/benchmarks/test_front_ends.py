"""What other front ends cost and save: word errors, and the time of the whole pipeline.

make bench ONLY=front_ends; one student, trained anew for each, on the embedded corpus with the
teacher that comes with the package, and on recorded speech with the teacher of an4.yaml. Both are
measured with Kaldi's filter bank and with ours. Differences are paired over the utterances of dev.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from folders import AN4

from search.home import Home
from search.results import TrialResults
from spaces.front_end import FrontEnd
from spaces.load import SHIPPED_FOLDER, shipped_spaces
from storage.store import Store
from workers.measure.bootstrap import difference_interval

SPOKEN = SHIPPED_FOLDER / "teachers" / "spoken.safetensors"
COMMON = {
    "targets": {
        "cpu": {"runs": 60, "restarts": 2, "max_s": 3.0},
        "fast": {"filter_bank": "fast", "runs": 60, "restarts": 2, "max_s": 3.0},
    },
    "distil": {"weight": 0.9, "temperature": 2.0},
}
EMBEDDED = {
    "name": "front-ends",
    "data": {
        "synthetic": {"train_utterances": 1000, "dev_utterances": 1500, "speakers": 85},
        "speeds": [1.0],
    },
    "teacher": {"checkpoint": str(SPOKEN)},
    "students": {"separable_conv": {"channels": 96, "blocks": 6, "dropout": 0.0}},
    "training": {"epochs": 12, "learning_rate": 0.01, "augment": 0.3, "batch_s": 16},
    "front_end": {"mels": [40, 64, 80], "shift_ms": [10, 15, 20], "sample_rate_hz": [8000, 16000]},
    "search": {"trials": 18, "parallel": 2, "sampler": "random", "confirm": False},
}
RECORDED = {
    "name": "front-ends-an4",
    "students": {"separable_conv": {"channels": 96, "blocks": 6, "expand": 2, "dropout": 0.05}},
    "training": {"epochs": 30, "learning_rate": 0.006},
    "front_end": {"mels": [40, 80], "shift_ms": [10, 15, 20]},
    "search": {"trials": 6, "parallel": 2, "sampler": "random", "confirm": False},
}


@pytest.mark.parametrize("corpus", ["embedded", "recorded"])
def test_front_ends(corpus: str, tmp_path: Path) -> None:
    kept = os.environ.get("BENCH_HOME")
    place = Path(kept) if kept else tmp_path
    place.mkdir(parents=True, exist_ok=True)
    space = {**COMMON, **(EMBEDDED if corpus == "embedded" else _recorded())}
    path = place / f"{space['name']}.yaml"
    path.write_text(yaml.safe_dump(space))
    home = Home.at(place / "home")
    command = [sys.executable, "-c", "from search.cli import main; main()", "--home", home.folder]
    subprocess.run([*command, "launch", "--plain", "--space", path], check=True)
    with closing(Store(home.store_url)) as store:
        study = store.studies.get(str(space["name"]))
        trials = [t for t in store.trials.of(study.id) if t.state.is_measured]
        found = {FrontEnd.of_recipe(t.recipe): t for t in trials}
        scores = {
            front_end: TrialResults.of(store.stage_runs.of(study.id, t.number)).score("cpu")
            for front_end, t in found.items()
        }
    usual = scores[FrontEnd()]
    assert usual is not None
    errors, words = np.array(usual.errors), np.array(usual.words)
    print(f"\n{corpus}: {words.sum()} words, usual {errors.sum() / words.sum():.2%}")
    order = sorted(found, key=lambda f: (-f.sample_rate_hz, f.shift_ms, -f.mels))
    for front_end in order:
        score, metrics = scores[front_end], found[front_end].metrics
        assert score is not None
        others = np.array(score.errors)
        low, high = difference_interval(errors, others, words, 2000)
        times = " ".join(
            f"{metrics[f'latency_p50_ms{on}']:.2f} (features {metrics[f'features_p50_ms{on}']:.2f})"
            for on in ("", "@fast")
        )
        print(
            f"{front_end.label() or 'usual':24} {others.sum() / words.sum():7.2%} "
            f"{100 * (others - errors).sum() / words.sum():+.2f} points "
            f"({100 * low:+.2f} to {100 * high:+.2f})   p50 ms Kaldi's, ours: {times}"
        )


def _recorded() -> dict[str, object]:
    if not AN4.exists():
        pytest.skip(f"the recorded corpus is not at {AN4}")
    text = yaml.safe_load(shipped_spaces()["an4"].read_text())
    data = {split: str(AN4 / f"{split}.jsonl") for split in ("train", "dev")}
    return {**RECORDED, "data": data, "teacher": text["teacher"]}
