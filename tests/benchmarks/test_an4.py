"""The main job on recorded speech: a teacher, a search of 24 trials, what its front holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from folders import HOME

from search.analysis.front import front_numbers
from search.analysis.trial_frame import trial_frame
from search.home import Home
from search.results import TrialResults
from search.study.options import Options, read_space
from storage.artifacts import ArtifactStore
from storage.store import Store
from workers.measure.latency import measure_latency
from workers.measure.timed_audio import request_for
from workers.recognizer import MODEL, TOKENS
from workers.targets.local import run_here

SHERPA = """
import json, sys, time, numpy as np, sherpa_onnx
folder, audio = sys.argv[1:]
recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(
    model=folder + "/model.onnx", tokens=folder + "/tokens.txt", num_threads=1)
texts, spent = [], []
for name in json.load(open(audio)):
    samples = np.load(name)
    start = time.perf_counter()
    stream = recognizer.create_stream()
    stream.accept_waveform(16000, samples)
    recognizer.decode_stream(stream)
    spent.append((time.perf_counter() - start) * 1000)
    texts.append(stream.result.text.strip())
print(json.dumps([texts, sorted(spent[5:])[len(spent[5:]) // 2]]))
"""


def test_an4(an4, tmp_path):
    search = str(Path(sys.executable).with_name("search"))
    subprocess.run(
        [search, "--home", str(HOME), "launch", "--space", "an4.yaml", "--plain"], check=True
    )
    home = Home.at(HOME)
    space, _, _ = read_space("an4.yaml", Options())
    store = Store(home.store_url)
    study = store.studies.get("an4")
    trials = store.trials.of(study.id)
    teacher = study.teacher_metrics
    for run in store.stage_runs.of(study.id, None):
        if run.stage == "train":
            print(f"\nteacher trained in {run.duration_s / 60:.1f} min ({run.state})")
    span_s = max(t.finished_at for t in trials) - min(t.created_at for t in trials)
    print(f"search of {len(trials)} trials: {span_s / 60:.1f} min")
    print(f"teacher: WER {teacher['wer']:.2%} of {teacher['n_words']:.0f} words")
    on_front = [
        trials[n] for n in front_numbers(trial_frame(trials, study, space), space.objectives)
    ]
    print("trial  WER (interval)  points  size  1/size")
    for t in on_front:
        m = t.metrics
        print(
            f"{t.number:5d}  {m['wer']:.2%} ({m['wer_low']:.1%} to {m['wer_high']:.1%})  "
            f"{(m['wer'] - teacher['wer']) * 100:+.1f}  {m['size_mb']:.2f} MB  "
            f"{teacher['size_mb'] / m['size_mb']:.1f}x"
        )
    _speeds(store, study, on_front, space, home, an4, tmp_path)
    _same_in_sherpa(store, study, on_front, home, an4, tmp_path)


def _results(store, study, number) -> TrialResults:
    """What the stages of a trial, or of the teacher (None), gave back."""
    return TrialResults.of(store.stage_runs.of(study.id, number))


def _speeds(store, study, on_front, space, home, corpus, folder):
    """Latencies taken anew, the teacher in turn with each student: ratios of the same processes."""
    artifacts = ArtifactStore(home.artifacts_url)
    target = next(iter(space.targets.values()))

    def files(number):
        exported, into = _results(store, study, number).export, folder / f"timed-{number}"
        return (
            "onnxruntime",
            artifacts.fetch(exported.model, into / MODEL),
            artifacts.fetch(exported.tokens, into / TOKENS),
        )

    print("trial  pipeline p50 (teacher)  graph p50 (teacher), ms, one thread")
    for trial in on_front:
        request = request_for(target, corpus, [files(None), files(trial.number)])
        teacher, student = (t.summary() for t in measure_latency(request, run_here))
        cells = [
            f"{student[m]:.2f} ({teacher[m]:.2f}) {teacher[m] / student[m]:.1f}x"
            for m in ("latency_p50_ms", "graph_p50_ms")
        ]
        print(f"{trial.number:5d}  {'  '.join(cells)}")


def _same_in_sherpa(store, study, on_front, home, corpus, folder):
    """How many dev texts differ between sherpa-onnx and what was measured, for each student."""
    import numpy as np

    from workers.data.audio import read_audio

    names = []
    for i, entry in enumerate(corpus.dev):
        np.save(folder / f"{i}.npy", read_audio(entry.audio))
        names.append(str(folder / f"{i}.npy"))
    (folder / "list.json").write_text(json.dumps(names))
    artifacts = ArtifactStore(home.artifacts_url)
    teacher_ms = None
    for number in (None, *(t.number for t in on_front)):
        results = _results(store, study, number)
        bundle = folder / str(number)
        artifacts.fetch(results.export.model, bundle / MODEL)
        artifacts.fetch(results.export.tokens, bundle / TOKENS)
        (scored, *_) = results.scored.values()
        ours = json.loads(artifacts.fetch(scored.texts, bundle / "texts.json").read_text())
        done = subprocess.run(
            [sys.executable, "-c", SHERPA, str(bundle), str(folder / "list.json")],
            capture_output=True,
            text=True,
            check=True,
        )
        theirs, median_ms = json.loads(done.stdout)
        teacher_ms = teacher_ms or median_ms
        n_other = sum(a != b for a, b in zip(ours, theirs, strict=True))
        print(
            f"in sherpa-onnx, {'teacher' if number is None else f'trial {number}'}: {n_other} of "
            f"{len(ours)} texts differ; median {median_ms:.2f} ms, {teacher_ms / median_ms:.1f}x"
        )
