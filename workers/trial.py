"""Everything one trial does: screen, train, compress, export, measure: one page.

A stage is a pure function of its job and the artifact store. It works in a folder named by the
job's key, takes up there what an interrupted attempt left, and writes its result last, in one
step: an equal job finds that result and does nothing.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from spaces.families import Dims
from spaces.load import parse_space
from spaces.recipe import PARTS, Quantize
from spaces.space import Target
from spaces.space import Teacher as TeacherConfig
from storage.artifacts import ArtifactStore
from workers.brought import blank_named
from workers.checkpoint import load_network, save_network
from workers.compress.prune import prune
from workers.compress.quantize import quantize
from workers.data.audio import read_audio
from workers.data.batches import Corpus, Entry
from workers.data.prepare import prepare, views_of
from workers.data.text import read_tokens, write_tokens
from workers.export.onnx import check_parity, export_onnx
from workers.jobs import (
    Compress,
    Export,
    Figure,
    Job,
    Listen,
    Measure,
    Place,
    Prepare,
    Screen,
    StageResult,
    Train,
    key_of,
)
from workers.measure.accuracy import accuracy, transcribe_dev
from workers.measure.cost import macs_per_second, n_parameters
from workers.measure.latency import Latency, LatencyRequest, measure_latency
from workers.measure.quiet import Host
from workers.students.base import build
from workers.teacher import Ear, WaveformTeacher, listen, load_teacher
from workers.train.distil import TeacherCache
from workers.train.loop import Trainer, write_json

_N_CALIBRATION = 32
_N_TIMED_UTTERANCES = 12
_SCREEN_RUNS = 24
_TRIES_FOR_QUIET = 3


def run_stage(job: Job, place: Place) -> StageResult:
    """Do a job, or find it done.

    Raises:
        UserFault: when the user's input is at fault.
        Exception: whatever else went wrong, for the executor to report.
    """
    folder = place.work / job.stage / key_of(job)[:32]
    folder.mkdir(parents=True, exist_ok=True)
    store = ArtifactStore(place.artifacts)
    reusable = getattr(job, "reusable", True)
    with FileLock(folder / "lock"):
        if reusable and (found := _finished(folder, place, store)) is not None:
            return found
        result = _STAGES[job.stage](job, place, store, folder)
        result = result.model_copy(update={"cpu_s": time.process_time()})
        write_json(folder / "result.json", result.model_dump(mode="json"))
        _clean(folder)
    return result


def _finished(folder: Path, place: Place, store: ArtifactStore) -> StageResult | None:
    try:
        content = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return None
    result = StageResult.model_validate({**content, "reused": True, "cpu_s": 0.0})
    if not all(store.has(digest) for digest in result.artifacts.values()):
        return None
    heard = result.facts.get("teacher")
    if heard is not None and not place.teacher(heard).exists():
        return None
    return result


def _clean(folder: Path) -> None:
    """What only an unfinished stage needs is dropped; the result and the log stay."""
    for path in folder.iterdir():
        if path.suffix in (".safetensors", ".onnx", ".npy"):
            path.unlink()


def _progress(folder: Path) -> Callable[[str, int, int], None]:
    last = [0.0]

    def report(what: str, done: int, of: int) -> None:
        if done == of or time.monotonic() - last[0] > 0.5:
            last[0] = time.monotonic()
            write_json(folder / "progress.json", {"what": what, "done": done, "of": of})

    return report


def do_prepare(job: Prepare, place: Place, _store: ArtifactStore, folder: Path) -> StageResult:
    space = parse_space(job.space_yaml, job.space_path)
    corpus, report = prepare(space, place.cache, _progress(folder))
    timed_audio(Corpus(corpus))
    return StageResult(
        facts={
            "corpus": corpus.name,
            "splits": {name: asdict(stats) for name, stats in report.splits.items()},
            "faults": list(report.faults),
            "n_symbols": len(report.symbols),
        }
    )


def do_screen(job: Screen, place: Place, _store: ArtifactStore, folder: Path) -> StageResult:
    corpus = Corpus(place.corpus(job.corpus))
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with Host(place.locks).busy():
        network = fresh_network(job.student, corpus).eval()
        model, _ = export_quantized(network, corpus.symbols, corpus, job.quantize, folder)
    figures = [
        Figure(metric="size_mb", value=size_mb(model)),
        Figure(metric="macs", value=macs_per_second(network)),
        Figure(metric="params", value=n_parameters(network)),
        *latency_figures(model, None, corpus, job.targets, place, runs=_SCREEN_RUNS),
    ]
    return StageResult(figures=tuple(figures))


def do_train(job: Train, place: Place, store: ArtifactStore, folder: Path) -> StageResult:
    torch.set_num_threads(job.threads)
    corpus = Corpus(place.corpus(job.corpus))
    torch.manual_seed(job.seed)
    network = fresh_network(job.student, corpus)
    trunk = None if job.trunk is None else store.fetch(job.trunk, folder / "from.safetensors")
    return _trained(network, corpus, job, place, store, folder, trunk)


def do_compress(job: Compress, place: Place, store: ArtifactStore, folder: Path) -> StageResult:
    torch.set_num_threads(job.threads)
    corpus = Corpus(place.corpus(job.corpus))
    parent, _, _ = load_network(store.fetch(job.checkpoint, folder / "parent.safetensors"))
    network = prune(parent, job.ratio)
    return _trained(network, corpus, job, place, store, folder, None)


def _trained(
    network: nn.Module,
    corpus: Corpus,
    job: Train | Compress,
    place: Place,
    store: ArtifactStore,
    folder: Path,
    trunk: Path | None,
) -> StageResult:
    report = _progress(folder)
    trainer = Trainer(
        network,
        corpus,
        job.training,
        job.seed,
        folder,
        distil=job.distil,
        teacher=None if job.teacher is None else TeacherCache(place.teacher(job.teacher)),
        host=Host(place.locks),
        trunk=trunk,
        report=lambda p: report("epochs", p["epoch"], p["epochs"]),
    )
    history = trainer.run()
    save_network(network, corpus.symbols, folder / "checkpoint.safetensors", job=job.stage)
    artifacts = {"checkpoint": store.put(folder / "checkpoint.safetensors")}
    if (folder / "trunk.safetensors").exists():
        artifacts["trunk"] = store.put(folder / "trunk.safetensors")
    return StageResult(artifacts=artifacts, facts={"history": history})


def do_export(job: Export, place: Place, store: ArtifactStore, folder: Path) -> StageResult:
    corpus = Corpus(place.corpus(job.corpus))
    network, symbols, _ = load_network(store.fetch(job.checkpoint, folder / "network.safetensors"))
    torch.set_num_threads(1)
    with Host(place.locks).busy():
        model, parity = export_quantized(network, symbols, corpus, job.quantize, folder)
    figures = [
        Figure(metric="size_mb", value=size_mb(model)),
        Figure(metric="macs", value=macs_per_second(network)),
        Figure(metric="params", value=n_parameters(network)),
    ]
    artifacts = {"model": store.put(model), "tokens": _put_tokens(symbols, store, folder)}
    return StageResult(artifacts=artifacts, figures=tuple(figures), facts={"parity": parity})


def do_measure(job: Measure, place: Place, store: ArtifactStore, folder: Path) -> StageResult:
    corpus = Corpus(place.corpus(job.corpus))
    model = store.fetch(job.model, folder / "model.onnx")
    if job.tokens is None:
        tokens = corpus.folder / "tokens.txt"
    else:
        tokens = store.fetch(job.tokens, folder / "tokens.txt")
    symbols = blank_named(read_tokens(tokens), tokens)
    with Host(place.locks).busy():
        texts = [corpus.normalise(t) for t in transcribe_dev(model, corpus, symbols)]
    teacher = None
    if job.teacher_texts is not None:
        teacher = json.loads(store.fetch(job.teacher_texts, folder / "teacher.json").read_text())
    figures = [
        Figure(metric="size_mb", value=size_mb(model)),
        *accuracy_figures(corpus, texts, teacher),
        *latency_figures(model, tokens, corpus, job.targets, place),
    ]
    return StageResult(
        artifacts={"texts": _put_texts(texts, store, folder)}, figures=tuple(figures)
    )


def do_listen(job: Listen, place: Place, store: ArtifactStore, folder: Path) -> StageResult:
    torch.set_num_threads(job.threads)
    space = parse_space(job.space_yaml, job.space_path)
    corpus = Corpus(place.corpus(job.corpus))
    teacher = load_teacher(_stored_teacher(space.teacher, job, store, folder))
    speeds = tuple(s for s, noise in views_of(space.data) if noise is None)
    ear = Ear(teacher, corpus, speeds)
    report = _progress(folder)
    hidden = any(float(v) > 0 for v in space.distil.hidden_weight.values_in_order())
    heard = listen(
        ear, place.cache, key_of(job), hidden, lambda i, n: report("teacher listens", i, n)
    )
    cached = TeacherCache(heard)
    facts: dict[str, Any] = {"teacher": heard.name, "kind": cached.kind}
    if cached.kind == "transcripts":
        facts["taught"] = f"{cached.n_taught} of {len(corpus.train)}"
    artifacts: dict[str, str] = {}
    figures: list[Figure] = []
    if isinstance(teacher, WaveformTeacher):  # runs in torch only, so this is where it is scored
        texts = [corpus.normalise(ear.text(e)) for e in corpus.dev]
        artifacts["texts"] = _put_texts(texts, store, folder)
        figures = accuracy_figures(corpus, texts, None)
        figures.append(Figure(metric="params", value=float(teacher.n_parameters or 0)))
    return StageResult(artifacts=artifacts, figures=tuple(figures), facts=facts)


def _stored_teacher(
    config: TeacherConfig, job: Listen, store: ArtifactStore, folder: Path
) -> TeacherConfig:
    """The teacher from the artifacts that were measured, wherever its own files are by now."""
    if job.checkpoint is not None:
        path = store.fetch(job.checkpoint, folder / "teacher.safetensors")
        return TeacherConfig(checkpoint=str(path))
    if job.model is not None and job.tokens is not None:
        model = store.fetch(job.model, folder / "teacher.onnx")
        tokens = store.fetch(job.tokens, folder / "tokens.txt")
        return TeacherConfig(onnx=str(model), tokens=str(tokens))
    return config


_STAGES: dict[str, Callable[[Any, Place, ArtifactStore, Path], StageResult]] = {
    "prepare": do_prepare,
    "screen": do_screen,
    "train": do_train,
    "compress": do_compress,
    "export": do_export,
    "measure": do_measure,
    "listen": do_listen,
}


def fresh_network(dims: Dims, corpus: Corpus) -> nn.Module:
    """An untrained network with the corpus's normalisation."""
    network = build(dims, len(corpus.symbols))
    network.frontend.mean.copy_(corpus.mean)  # type: ignore[union-attr,operator]
    network.frontend.inv_std.copy_(corpus.inv_std)  # type: ignore[union-attr,operator]
    return network


def export_quantized(
    network: nn.Module, symbols: tuple[str, ...], corpus: Corpus, scheme: Quantize, folder: Path
) -> tuple[Path, float]:
    """The file that ships and the parity of its float32 form with the network."""
    plain = folder / "float.onnx"
    export_onnx(network, symbols, plain)
    by_length = sorted(corpus.dev, key=lambda e: e.at[0][1])
    chosen = spread(by_length, 6)
    parity = check_parity(network, plain, [corpus.frames(e) for e in chosen])
    if all(getattr(scheme, part) == "fp32" for part in PARTS):
        return plain, parity
    model = folder / "model.onnx"
    calibration = [np.array(corpus.frames(e)) for e in spread(corpus.train, _N_CALIBRATION)]
    quantize(plain, model, scheme, calibration)
    return model, parity


def spread(entries: list[Entry], count: int) -> list[Entry]:
    """So many entries, evenly over a list."""
    places = np.linspace(0, len(entries) - 1, min(count, len(entries))).round().astype(int)
    return [entries[i] for i in places]


def size_mb(model: Path) -> float:
    return model.stat().st_size / 1e6


def timed_audio(corpus: Corpus) -> tuple[Path, ...]:
    """Samples of dev utterances, short to long, as .npy for the process that times."""
    folder = corpus.folder / "timed"
    if not folder.exists():
        partial = folder.with_name(f"timed.{uuid.uuid4().hex}.partial")
        partial.mkdir()
        by_length = sorted(corpus.dev, key=lambda e: e.seconds)
        for i, entry in enumerate(spread(by_length, _N_TIMED_UTTERANCES)):
            samples = read_audio(entry.audio, entry.offset_s, entry.duration_s)
            np.save(partial / f"{i:02d}.npy", samples)
        try:
            partial.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(partial)
    return tuple(sorted(folder.glob("*.npy")))


def latency_figures(
    model: Path,
    tokens: Path | None,
    corpus: Corpus,
    targets: dict[str, Target],
    place: Place,
    runs: int | None = None,
) -> list[Figure]:
    """Figures of a model on each target, taken while nothing trains on this host."""
    figures = []
    for name, target in targets.items():
        request = LatencyRequest(
            model=str(model),
            tokens=str(tokens or corpus.folder / "tokens.txt"),
            backend=target.backend,
            threads=target.threads,
            runs=runs or target.runs,
            audio=tuple(map(str, timed_audio(corpus))),
        )
        with Host(place.locks).quiet():
            taken = _undisturbed(request)
        samples = {"latency_p50_ms": taken.total_ms, "graph_p50_ms": taken.graph_ms}
        figures += [
            Figure(target=name, metric=metric, value=value, samples=samples.get(metric))
            for metric, value in taken.summary().items()
        ]
    return figures


def _undisturbed(request: LatencyRequest) -> Latency:
    """A run that had its core for itself, or else the last of a few: its figures say so."""
    for _ in range(_TRIES_FOR_QUIET):
        taken = measure_latency(request)
        if not taken.disturbed:
            break
    return taken


def accuracy_figures(
    corpus: Corpus, texts: list[str], teacher_texts: list[str] | None
) -> list[Figure]:
    scored = accuracy([e.text for e in corpus.dev], texts, teacher_texts)
    return [
        Figure(metric=metric, value=float(value))
        for metric, value in asdict(scored).items()
        if value is not None
    ]


def _put_tokens(symbols: tuple[str, ...], store: ArtifactStore, folder: Path) -> str:
    write_tokens(symbols, folder / "tokens.txt")
    return store.put(folder / "tokens.txt")


def _put_texts(texts: list[str], store: ArtifactStore, folder: Path) -> str:
    write_json(folder / "texts.json", texts)
    return store.put(folder / "texts.json")
