"""Every runtime that is installed × number formats × one student of each family, one thread."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
from students import SECONDS, STUDENTS, audio_in, calibration, make

from search.analysis.pick import best_number
from search.analysis.trial_frame import trial_frame
from search.home import Home
from search.results import TrialResults, model_of
from spaces.backends import BACKENDS
from spaces.load import load_space
from spaces.metrics import MetricRef
from spaces.recipe import Quantize
from storage.artifacts import ArtifactStore
from storage.store import Store
from workers.backends.environments import is_installed
from workers.data.corpus import Corpus
from workers.errors import UserFault, WorkError
from workers.export.convert import convert
from workers.measure.latency import measure_latency
from workers.measure.timed_audio import request_for
from workers.models import fetch_model
from workers.probe.request import Candidate, LatencyRequest
from workers.targets.local import run_here

FORMATS = ("fp32", "fp16", "int8", "int8_dynamic", "int8_static", "int4")
LENGTHS = tuple(round(s * 100) for s in SECONDS)


def test_backends(tmp_path: Path) -> None:
    audio = audio_in(tmp_path / "audio")
    features = calibration()
    infos = [
        i
        for i in BACKENDS.values()
        if i.status != "for tests" and is_installed(i) and (not i.gpu or i.name == "torch")
    ]
    print("\nnetwork CPU ms (lower quartile, mean of 1 to 6 s) · size MB · anchor ratio · steady?")
    for family, dims in STUDENTS.items():
        made = make(dims, tmp_path / family)
        print(f"{family}, {made.n_parameters / 1e6:.2f} M parameters")
        for info in infos:
            for scheme in FORMATS:
                formats = (scheme,) * 3
                if info.refuses(family, formats) is not None:
                    continue
                folder = tmp_path / family / info.name / scheme
                folder.mkdir(parents=True)
                print(f"  {info.name:12s} {scheme:12s} ", end="", flush=True)
                try:
                    print(_row(info.name, made, scheme, features, audio, folder), flush=True)
                except (UserFault, WorkError) as error:
                    print(f"failed: {str(error)[:150]}")


def _row(backend, made, scheme, features, audio, folder) -> str:
    files = convert(
        backend,
        made.onnx,
        made.network,
        Quantize(frontend=scheme, encoder=scheme, head=scheme),
        features,
        LENGTHS[1::2],
        folder,
    )
    request = LatencyRequest(
        candidates=(Candidate(backend, str(files[0]), str(made.tokens), {"threads": 1}),),
        audio=audio,
        audio_s=SECONDS,
        max_s=4.0,
    )
    (timed,) = measure_latency(request, run_here)
    size = sum(f.stat().st_size for f in files) / 1e6
    wall = float(np.percentile(timed.pooled("model_ms"), 50))
    cpu = float(np.percentile(timed.pooled("graph_cpu_ms"), 25, axis=0).mean())
    steady = "; ".join(timed.unsteady) or "steady"
    return f"{cpu:7.3f} ms (wall p50 {wall:7.3f}) {size:6.2f} MB {timed.anchor_ratio:7.2f} {steady}"


SPACE = """
name: fastest
data: {synthetic: {train_utterances: 60, dev_utterances: 24, speakers: 8}, speeds: [1.0]}
teacher:
  train: {student: {family: separable_conv, channels: 32, blocks: 2}, training: {epochs: 1}}
students: {%s}
training: {epochs: 1}
quantize: {scheme: [fp32, int8, int4]}
targets:
  onnxruntime: {}
  openvino: {backend: openvino}
  litert: {backend: litert}
objectives: [wer, graph_cpu_ms@onnxruntime, graph_cpu_ms@openvino, graph_cpu_ms@litert]
search: {trials: 3, parallel: 1, initial_trials: 0}
"""
FASTEST = {
    "separable_conv": "separable_conv: {channels: 128, blocks: 6, kernel: 11, expand: 2.0}",
    "conformer": "conformer: {channels: 96, blocks: 4, heads: 4, head_size: 24, feed_forward: 384}",
}


def test_search_picks_the_fastest_format_of_each_runtime(tmp_path: Path) -> None:
    """What the search would export for each target, beside every format measured anew."""
    for family, student in FASTEST.items():
        home = Home.at(tmp_path / family)
        path = tmp_path / f"{family}.yaml"
        path.write_text(SPACE % student)
        command = [sys.executable, "-c", "from search.cli import main; main()"]
        command += ["--home", str(home.folder), "launch", "--space", str(path), "--plain"]
        subprocess.run(command, check=True, capture_output=True)
        with closing(Store(home.store_url)) as store:
            study = store.studies.get("fastest")
            space = load_space(path)
            print(f"\n{family}: network CPU ms by format, in the search and measured anew")
            for target in space.targets:
                _one_target(store, study, space, target, home, tmp_path / family / target)


def _one_target(store, study, space, target, home, folder) -> None:
    trials = store.trials.of(study.id)
    metric = f"graph_cpu_ms@{target}"
    picked = best_number(trial_frame(trials, study, space), MetricRef.of(metric))
    artifacts = ArtifactStore(home.artifacts_url)
    corpus = Corpus(home.workspace().corpus(study.corpus))
    models = []
    for trial in trials:
        results = TrialResults.of(store.stage_runs.of(study.id, trial.number))
        model, tokens = model_of(space, target, results)
        into = folder / str(trial.number)
        into.mkdir(parents=True)
        main = fetch_model(model, artifacts, into)
        models.append((model.backend, main, artifacts.fetch(tokens, into / "tokens.txt")))
    timed = measure_latency(request_for(space.targets[target], corpus, models), run_here)
    anew = [t.summary()["graph_cpu_ms"] for t in timed]
    rows = [
        f"{t.values['quantize.scheme']} {t.metrics[metric]:.3f} / {again:.3f}"
        for t, again in zip(trials, anew, strict=True)
    ]
    lost = anew[picked] / min(anew) - 1
    scheme = trials[picked].values["quantize.scheme"]
    print(f"  {target:12s} {'; '.join(rows)}; picked {scheme}, {lost:+.1%} from the fastest anew")
