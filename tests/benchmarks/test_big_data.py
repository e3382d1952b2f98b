"""Much audio: what preparing it costs, what it costs to load, and what 8 bits cost in words.

HOURS=20 prepares so many hours, made of entries over the same files, and kills it on the way.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from folders import AN4

from search.home import Home
from search.results import TrialResults
from spaces.load import SHIPPED_FOLDER
from spaces.space import Data, Synthetic, Tokens
from storage.store import Store
from workers.data.batches import epoch_plan, load_batch
from workers.data.corpus import Corpus
from workers.data.features_numpy import fbank_numpy
from workers.data.prepare import prepare
from workers.data.synthetic import synthetic_corpus
from workers.measure.bootstrap import difference_interval

HOURS = float(os.environ.get("HOURS", "20"))
SPOKEN = SHIPPED_FOLDER / "teachers" / "spoken.safetensors"
SEEDS = (0, 1, 2)
FORMS = ("whole", "compact")
NOISY = {"speeds": [0.9, 1.0, 1.1], "noise_snr_db": [5, 20]}
LEARNT = {
    "data": {"synthetic": {"train_utterances": 1000, "dev_utterances": 1500, "speakers": 85}},
    "teacher": {"checkpoint": str(SPOKEN)},
    "students": {"separable_conv": {"channels": 96, "blocks": 6, "dropout": 0.0}},
    "training": {"epochs": 16, "learning_rate": 0.01, "augment": 0.3, "batch_s": 16},
    "distil": {"weight": 0.9, "temperature": 2.0},
    "targets": {"cpu": {"runs": 10, "restarts": 1, "tries": 1, "max_s": 0.3}},
    "search": {"trials": 1, "parallel": 1, "sampler": "random", "confirm": False},
}


def test_eight_bits_cost_no_words(tmp_path: Path) -> None:
    """The same student on features as they are, and on compact ones: three seeds of each."""
    errors: dict[str, list[np.ndarray]] = {form: [] for form in FORMS}
    words = np.zeros(0)
    home = Home.at(Path(os.environ.get("BENCH_HOME") or tmp_path) / "home")
    for seed in SEEDS:
        for form in FORMS:
            name = f"{form}-{seed}"
            space = {**LEARNT, "name": name, "search": {**LEARNT["search"], "seed": seed}}
            space["data"] = {**LEARNT["data"], **NOISY, "features": form}
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(space))
            score = _searched(home, tmp_path / f"{name}.yaml", name)
            errors[form].append(np.array(score.errors))
            words = np.array(score.words)
            share = errors[form][-1].sum() / words.sum()
            print(f"{name:12} {share:.2%}", flush=True)
    whole, compact = (np.concatenate(errors[form]) for form in FORMS)
    low, high = difference_interval(whole, compact, np.tile(words, len(SEEDS)), 2000)
    change = (compact - whole).sum() / (words.sum() * len(SEEDS))
    print(
        f"compact against whole, {len(SEEDS)} seeds, {words.sum()} words: {100 * change:+.2f} "
        f"points ({100 * low:+.2f} to {100 * high:+.2f})"
    )


def _searched(home: Home, path: Path, name: str):
    command = [sys.executable, "-c", "from search.cli import main; main()", "--home", home.folder]
    subprocess.run([*command, "launch", "--plain", "--space", path], check=True)
    with closing(Store(home.store_url)) as store:
        study = store.studies.get(name)
        return TrialResults.of(store.stage_runs.of(study.id, 0)).score("cpu")


def test_loading_costs_little_of_a_step(tmp_path: Path) -> None:
    """CPU seconds of an epoch's batches, beside those of the steps of a student on them."""
    from spaces.families import SeparableConv
    from spaces.recipe import Training
    from workers.students.base import untrained_student
    from workers.train.loop import Trainer

    spoken = Synthetic(train_utterances=1000, dev_utterances=20, speakers=40)
    torch.set_num_threads(1)
    for form in FORMS:
        data = Data.model_validate({"synthetic": spoken.model_dump(), **NOISY, "features": form})
        folder, _ = prepare(data, Tokens(), 4, tmp_path)
        corpus = Corpus(folder)
        training = Training(epochs=1, batch_s=60)
        network = untrained_student(SeparableConv(channels=96, blocks=6), corpus)
        trainer = Trainer(network, corpus, training, 0, tmp_path)
        network.train()
        rng = np.random.default_rng(0)
        loads, steps = [], []
        for items in epoch_plan(corpus, 60, rng):
            began = time.process_time()
            batch = load_batch(corpus, items)
            loaded = time.process_time()
            trainer.step(batch, 0.5, rng)
            loads.append(loaded - began)
            steps.append(time.process_time() - loaded)
        share = sum(loads) / (sum(loads) + sum(steps))
        print(f"{form:8} loading {1000 * np.median(loads):.1f} ms of {share:.1%} of a step")


def _long_list(folder: Path, hours: float) -> tuple[Path, Path]:
    """Lists of so many hours over the same files, each entry a stretch of its own."""
    if AN4.exists():
        sources = {s: _entries(AN4 / f"{s}.jsonl") for s in ("train", "dev")}
    else:
        spoken = synthetic_corpus(Synthetic(train_utterances=1000, speakers=40), folder)
        sources = {s: _entries(path) for s, path in spoken.items()}
    made = folder / "long.jsonl", folder / "short.jsonl"
    with made[0].open("w") as file:
        left_s, number = hours * 3600, 0
        while left_s > 0:
            entry = dict(sources["train"][number % len(sources["train"])])
            entry["offset"] = 0.001 * (number // len(sources["train"]))  # no two are the same
            entry["duration"] -= entry["offset"]
            file.write(json.dumps(entry) + "\n")
            left_s -= entry["duration"]
            number += 1
    made[1].write_text("".join(json.dumps(e) + "\n" for e in sources["dev"]))
    return made


def _entries(path: Path) -> list[dict[str, object]]:
    import soundfile

    found = [json.loads(line) for line in path.read_text().splitlines()]
    for entry in found:
        entry["audio_filepath"] = str(path.parent / entry["audio_filepath"])
        entry["duration"] = soundfile.info(entry["audio_filepath"]).duration
    return found


_PREPARE = """
import sys
from pathlib import Path
from spaces.space import Data, Tokens
from workers.data.prepare import prepare
if __name__ == "__main__":
    data = Data(train=sys.argv[1], dev=sys.argv[2], features="compact", speeds=[0.9, 1.0, 1.1],
                allow_shared_speakers=True)
    print(prepare(data, Tokens(), 4, Path(sys.argv[3]))[0])
"""


def test_hours_are_prepared_and_what_is_done_is_kept(tmp_path: Path) -> None:
    train, dev = _long_list(tmp_path, HOURS)
    script = tmp_path / "prepare.py"
    script.write_text(_PREPARE)
    cache = tmp_path / "cache"
    command = [sys.executable, script, train, dev, cache]

    def n_shards() -> int:
        return len(list((cache / "shards").glob("*/rows.json")))

    began, kept = time.monotonic(), []
    for _ in range(2):  # kill -9 on the way, all of its processes
        process = subprocess.Popen(command, start_new_session=True)
        time.sleep(15)
        before = n_shards()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kept.append((before, n_shards()))
    killed_s = time.monotonic() - began
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    before_s = usage.ru_utime + usage.ru_stime
    folder = Path(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    )
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = usage.ru_utime + usage.ru_stime
    disk = sum(p.stat().st_size for p in folder.iterdir())
    print(f"\n{HOURS:g} hours; {n_shards()} shards; killed after {killed_s:.0f} s, kept {kept}")
    print(f"CPU {cpu_s:.0f} s in all, of it {cpu_s - before_s:.0f} s after the kills")
    print(
        f"{HOURS / (cpu_s / 3600):.0f} hours of audio a core-hour, whole: decoding, checking, all"
    )
    print(
        f"largest process {usage.ru_maxrss / 1e6:.2f} GB; {disk / 1e9:.2f} GB on disk: "
        f"{disk / 1e9 / HOURS * 1000:.1f} GB of 1,000 hours"
    )
    again = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    print(f"asked again, found done in {time.monotonic() - again:.1f} s")


def test_features_alone() -> None:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(10 * 16000).astype(np.float32) * 0.1
    fbank_numpy(samples)
    began = time.process_time()
    for _ in range(60):
        fbank_numpy(samples)
    per_s = (time.process_time() - began) / 600
    print(f"\nfeatures alone: {1 / per_s:.0f} hours of audio a core-hour")
    if not AN4.exists():
        pytest.skip("the rest is of recorded speech")
