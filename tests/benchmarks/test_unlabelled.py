"""Half of the transcripts taken away: a student with and without what the teacher writes of it.

make bench ONLY=unlabelled; on recorded speech, with the teacher of an4.yaml, and on the embedded
corpus with the one that comes with the package. Beside a student of all transcripts, and one that
is trained on the half for twice the epochs: as many steps as with the other half.
"""

from __future__ import annotations

import json
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
from spaces.load import SHIPPED_FOLDER
from spaces.space import Synthetic
from storage.store import Store
from workers.data.synthetic import synthetic_corpus
from workers.measure.bootstrap import difference_interval

SPOKEN = SHIPPED_FOLDER / "teachers" / "spoken.safetensors"
MEASURED = {
    "targets": {"cpu": {"runs": 20, "restarts": 1, "max_s": 0.5}},
    "search": {"trials": 1, "parallel": 1, "confirm": False},
}


@pytest.mark.parametrize("corpus", ["embedded", "recorded"])
def test_half_of_the_transcripts(corpus: str, tmp_path: Path) -> None:
    kept = os.environ.get("BENCH_HOME")
    place = Path(kept) if kept else tmp_path
    home = Home.at(place / "home")
    if corpus == "recorded":
        if not AN4.exists():
            pytest.skip(f"the recorded corpus is not at {AN4}")
        train, dev, epochs = AN4 / "train.jsonl", AN4 / "dev.jsonl", 24
        given = os.environ.get("AN4_TEACHER")
        if not given:
            pytest.skip("name a checkpoint of the teacher of an4.yaml in AN4_TEACHER")
        teacher, speeds, learning_rate = given, [0.9, 1.0, 1.1], 0.006
    else:
        spoken = synthetic_corpus(
            Synthetic(train_utterances=1000, dev_utterances=1500, speakers=85),
            home.workspace().cache,
        )
        train, dev, epochs = spoken["train"], spoken["dev"], 12
        teacher, speeds, learning_rate = str(SPOKEN), [1.0], 0.01
    half, other = _halves(train, place / corpus)
    lists: dict[str, tuple[Path, Path | None, int]] = {
        "half of the transcripts": (half, None, epochs),
        "half, twice the epochs": (half, None, 2 * epochs),
        "half, the other unlabelled": (half, other, epochs),
        "all transcripts": (train, None, epochs),
    }
    scores = {}
    for what, (labelled, unlabelled, n_epochs) in lists.items():
        data = {"train": str(labelled), "dev": str(dev), "speeds": speeds}
        space = {
            "name": f"{corpus}-{list(lists).index(what)}",
            "data": {**data, **({"unlabelled": str(unlabelled)} if unlabelled else {})},
            "teacher": {"checkpoint": teacher},
            "students": {"separable_conv": {"channels": 96, "blocks": 6, "dropout": 0.0}},
            "training": {"epochs": n_epochs, "learning_rate": learning_rate, "batch_s": 16},
            "distil": {"weight": 0.9, "temperature": 2.0},
            **MEASURED,
        }
        path = place / f"{space['name']}.yaml"
        path.write_text(yaml.safe_dump(space))
        command = [sys.executable, "-c", "from search.cli import main; main()"]
        launched = ["--home", home.folder, "launch", "--plain", "--space", path]
        done = subprocess.run([*command, *launched], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        print(next(x for x in done.stdout.splitlines() if "teacher ready" in x).partition(": ")[2])
        with closing(Store(home.store_url)) as store:
            study = store.studies.get(str(space["name"]))
            score = TrialResults.of(store.stage_runs.of(study.id, 0)).score("cpu")
        assert score is not None
        scores[what] = np.array(score.errors), np.array(score.words)
    before, words = scores["half of the transcripts"]
    print(f"\n{corpus}: {words.sum()} words of dev")
    for what, (errors, _) in scores.items():
        low, high = difference_interval(before, errors, words, 2000)
        print(
            f"{what:28} {errors.sum() / words.sum():7.2%}  "
            f"{100 * (errors - before).sum() / words.sum():+.2f} points "
            f"({100 * low:+.2f} to {100 * high:+.2f})",
            flush=True,
        )


def _halves(train: Path, folder: Path) -> tuple[Path, Path]:
    """A list of every other utterance with its transcript, and of the others without."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in train.read_text().splitlines()]
    rows = [{**r, "audio_filepath": str(train.parent / r["audio_filepath"])} for r in rows]
    half, other = folder / "half.jsonl", folder / "other.jsonl"
    half.write_text("".join(f"{json.dumps(row)}\n" for row in rows[::2]))
    bare = [{k: v for k, v in row.items() if k != "text"} for row in rows[1::2]]
    other.write_text("".join(f"{json.dumps(row)}\n" for row in bare))
    return half, other
