"""Everything one trial does: screen, train, compress, export, convert, score, measure: one page.

A stage is a pure function of its job and the artifact store. It works in a folder named by the
job's key, takes up there what an interrupted attempt left, and writes its result last, in one
step: an equal job finds that result and does nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from spaces.backends import backend_info
from spaces.families import Dims
from spaces.load import parse_space
from spaces.recipe import Quantize
from spaces.space import Teacher as TeacherConfig
from storage.artifacts import ArtifactStore
from workers.backends.base import Source, load_backend
from workers.brought import blank_named
from workers.checkpoint import load_network, save_network
from workers.compress.prune import prune
from workers.compress.quantize import sizes_by_part
from workers.data.batches import Corpus
from workers.data.prepare import prepare, views_of
from workers.data.text import read_tokens, write_tokens
from workers.errors import DeviceAway, DeviceRefused, ParityError
from workers.export.convert import convert
from workers.export.onnx import check_parity, export_onnx
from workers.jobs import (
    Compress,
    Convert,
    Export,
    Figure,
    Job,
    Listen,
    Measure,
    Model,
    Place,
    Prepare,
    Score,
    Screen,
    StageResult,
    Train,
    key_of,
)
from workers.measure.accuracy import accuracy, utterance_errors
from workers.measure.cost import macs_per_second, n_parameters
from workers.measure.latency import Latency
from workers.measure.on_target import (
    measure_on,
    request_for,
    spread,
    timed_audio,
    timed_entries,
)
from workers.measure.quiet import Host
from workers.measure.scoring import Reader, dev_texts, lengths_of, long_figures, long_slices
from workers.students.base import build
from workers.teacher import Ear, WaveformTeacher, listen, load_teacher
from workers.train.distil import TeacherCache
from workers.train.loop import Trainer, write_json

_N_CALIBRATION = 32
_SAMPLED = {  # figures that keep their raw samples: [passes][utterances], flat
    "latency_p50_ms": "whole_ms",
    "graph_p50_ms": "graph_ms",
    "graph_cpu_ms": "graph_cpu_ms",
}
_ANCHOR_SLOWER = 1.10
_TEXTS_MAY_DIFFER = 0.02  # of float32 in two runtimes: near ties turn on the last bit


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
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix in (".safetensors", ".onnx", ".npy", ".npz"):
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
    if space.gate.long_audio is not None:
        long_slices(Corpus(corpus))
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
        plain, model, _ = export_quantized(network, corpus.symbols, corpus, job.quantize, folder)
        save_network(network, corpus.symbols, folder / "fresh.safetensors", job="screen")
    figures = [
        Figure(metric="macs", value=macs_per_second(network)),
        Figure(metric="params", value=n_parameters(network)),
    ]
    skipped = {}
    for name, target in job.targets.items():
        if backend_info(target.backend).slow_to_prepare:
            skipped[name] = f"{target.backend} takes long to prepare"
            continue
        files = [model]
        if target.backend != "onnxruntime":
            files = _fresh_in(target.backend, plain, job.quantize, corpus, place, folder)
        size = sum(map(size_mb, files))
        figures.append(Figure(target=name, metric="size_mb", value=size))
        models = [(target.backend, files[0], corpus.folder / "tokens.txt")]
        request = request_for(target, corpus, models, is_quick=True)
        try:
            timed = measure_on(target, request, place)[0]
            figures += timed_figures(timed, name, stream_limit_ms=target.stream_limit_ms)
        except (DeviceAway, DeviceRefused) as error:  # what cannot be screened is measured later
            skipped[name] = str(error)
    return StageResult(figures=tuple(figures), facts={"not_screened_on": skipped})


def _fresh_in(
    backend: str, plain: Path, scheme: Quantize, corpus: Corpus, place: Place, folder: Path
) -> list[Path]:
    """An untrained student in the form of another runtime."""
    into = folder / backend
    into.mkdir(exist_ok=True)
    fresh, lengths = folder / "fresh.safetensors", lengths_of(corpus, long_audio=False)
    with Host(place.locks).busy():
        return convert(backend, plain, fresh, scheme, calibration_of(corpus), lengths, into)


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
        plain, model, parity = export_quantized(network, symbols, corpus, job.quantize, folder)
    figures = [
        Figure(metric="size_mb", value=size_mb(model)),
        Figure(metric="macs", value=macs_per_second(network)),
        Figure(metric="params", value=n_parameters(network)),
    ]
    artifacts = {
        "model": store.put(model),
        "float": store.put(plain),
        "tokens": _put_tokens(symbols, store, folder),
    }
    facts = {"parity": parity, "sizes": sizes_by_part(model)}
    return StageResult(artifacts=artifacts, figures=tuple(figures), facts=facts)


def do_convert(job: Convert, place: Place, store: ArtifactStore, folder: Path) -> StageResult:
    corpus = Corpus(place.corpus(job.corpus))
    onnx = store.fetch(job.onnx, folder / "float.onnx")
    network = None
    if job.network is not None:
        network = store.fetch(job.network, folder / "network.safetensors")
    with Host(place.locks).busy():
        files = convert(
            job.backend,
            onnx,
            network,
            job.quantize,
            calibration_of(corpus),
            lengths_of(corpus, job.long_audio),
            folder,
        )
    size = sum(f.stat().st_size for f in files) / 1e6
    model = Model(
        backend=job.backend, main=files[0].name, files={f.name: store.put(f) for f in files}
    )
    return StageResult(
        artifacts=model.files,
        figures=(Figure(metric="size_mb", value=size),),
        facts={"model": model.model_dump(mode="json")},
    )


def do_score(job: Score, place: Place, store: ArtifactStore, folder: Path) -> StageResult:
    corpus = Corpus(place.corpus(job.corpus))
    tokens = _tokens_at(job.tokens, corpus, store, folder)
    reader = Reader(
        job.model.backend,
        fetch_model(job.model, store, folder / "model"),
        {"precision": job.precision},
        blank_named(read_tokens(tokens), tokens),
        Host(place.locks).busy,
        _progress(folder),
    )
    texts = dev_texts(reader, corpus)
    long = long_figures(reader, corpus, texts) if job.long_audio else {}
    figures = accuracy_figures(corpus, texts, _read_texts(job.teacher_texts, store, folder))
    figures += [Figure(metric=metric, value=value) for metric, value in long.items()]
    onnx_texts = _read_texts(job.onnx_texts, store, folder)
    if onnx_texts is not None:
        differing = _differing(texts, onnx_texts)
        if job.same_numbers and differing > _TEXTS_MAY_DIFFER:
            raise ParityError(
                f"{job.model.backend}: {differing:.1%} of the texts differ from ONNX Runtime's, "
                "though both compute in float32"
            )
        figures.append(Figure(metric="text_diff_share", value=differing))
    references = [e.text for e in corpus.dev]
    return StageResult(
        artifacts={"texts": _put_texts(texts, store, folder)},
        figures=tuple(figures),
        facts={
            "errors": utterance_errors(references, texts).tolist(),
            "words": [len(r.split()) for r in references],
        },
    )


def do_measure(job: Measure, place: Place, store: ArtifactStore, folder: Path) -> StageResult:
    corpus = Corpus(place.corpus(job.corpus))
    tokens = _tokens_at(job.tokens, corpus, store, folder)
    models = [(job.model.backend, fetch_model(job.model, store, folder / "model"), tokens)]
    if job.baseline is not None and job.baseline_tokens is not None:
        baseline = fetch_model(job.baseline, store, folder / "baseline")
        theirs = store.fetch(job.baseline_tokens, folder / "baseline" / "tokens.txt")
        models.append((job.baseline.backend, baseline, theirs))
    timed = measure_on(job.target, request_for(job.target, corpus, models), place)
    figures = timed_figures(timed[0], "", job.macs, job.target.stream_limit_ms)
    if len(timed) > 1:
        ratios = tuple(
            a.anchor_ratio / b.anchor_ratio
            for a, b in zip(timed[0].restarts, timed[1].restarts, strict=True)
        )
        value = float(np.median(ratios))
        figures.append(Figure(metric="regression", value=value, samples=ratios))
    reasons = list(timed[0].unsteady)
    if (slower := _slower_than_calibrated(timed[0], job.calibrated_anchor_ms)) is not None:
        reasons.append(f"the anchor takes {slower:.2f} times what it took when calibrated")
    figures.append(Figure(metric="unsteady", value=float(bool(reasons))))
    last = timed[0].restarts[-1]
    here = _read_texts(job.texts, store, folder)
    if here is not None and last.texts:
        numbers = [corpus.dev.index(e) for e in timed_entries(corpus)]
        there = [corpus.normalise(t) for t in last.texts]
        differing = _differing(there, [here[i] for i in numbers])
        figures.append(Figure(metric="text_diff_share", value=differing))
    facts = {
        "machine": last.machine,
        "unsteady": reasons,
        "profile": timed[0].profile,
        "utterances_s": list(timed[0].audio_s),
        "passes": [len(r.graph_ms) for r in timed[0].restarts],
        "anchor_ms": [r.anchor_ms for r in timed[0].restarts if r.anchor_cpu_ms],
    }
    return StageResult(figures=tuple(figures), facts=facts)


def _slower_than_calibrated(timed: Latency, calibrated_ms: float | None) -> float | None:
    """How much slower the anchor is, where that is more than noise."""
    if calibrated_ms is None or not timed.restarts[0].anchor_cpu_ms:
        return None
    slower = float(np.median([r.anchor_ms for r in timed.restarts])) / calibrated_ms
    return slower if slower > _ANCHOR_SLOWER else None


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
    "convert": do_convert,
    "score": do_score,
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
) -> tuple[Path, Path, float]:
    """The float32 file, the one that ships, and the parity of the first with the network."""
    plain = folder / "float.onnx"
    export_onnx(network, symbols, plain)
    by_length = sorted(corpus.dev, key=lambda e: e.at[0][1])
    parity = check_parity(network, plain, [corpus.frames(e) for e in spread(by_length, 6)])
    source = Source(onnx=plain, formats=scheme.formats, calibration=calibration_of(corpus))
    (name,) = load_backend("onnxruntime").prepare(source, folder)
    return plain, folder / name, parity


def calibration_of(corpus: Corpus) -> list[np.ndarray]:
    """Features of training audio, from which quantizers take ranges."""
    return [np.array(corpus.frames(e)) for e in spread(corpus.train, _N_CALIBRATION)]


def size_mb(model: Path) -> float:
    return model.stat().st_size / 1e6


def fetch_model(model: Model, store: ArtifactStore, folder: Path) -> Path:
    """The files of a model in a folder of their own; the path of the main one."""
    folder.mkdir(exist_ok=True)
    for name, digest in model.files.items():
        store.fetch(digest, folder / name)
    return folder / model.main


def timed_figures(
    timed: Latency, target: str, macs: float | None = None, stream_limit_ms: float = 300.0
) -> list[Figure]:
    figures = []
    for metric, value in timed.summary(macs, stream_limit_ms).items():
        samples = None
        if metric in _SAMPLED:
            samples = tuple(timed.pooled(_SAMPLED[metric]).round(5).ravel().tolist())
        elif metric == "anchor_ratio":
            samples = tuple(r.anchor_ratio for r in timed.restarts)
        figures.append(Figure(target=target, metric=metric, value=value, samples=samples))
    return figures


def accuracy_figures(
    corpus: Corpus, texts: list[str], teacher_texts: list[str] | None
) -> list[Figure]:
    scored = accuracy([e.text for e in corpus.dev], texts, teacher_texts)
    return [
        Figure(metric=metric, value=float(value))
        for metric, value in asdict(scored).items()
        if value is not None
    ]


def _differing(texts: list[str], others: list[str]) -> float:
    return float(np.mean([a != b for a, b in zip(texts, others, strict=True)]))


def _tokens_at(digest: str | None, corpus: Corpus, store: ArtifactStore, folder: Path) -> Path:
    if digest is None:
        return corpus.folder / "tokens.txt"
    return store.fetch(digest, folder / "tokens.txt")


def _read_texts(digest: str | None, store: ArtifactStore, folder: Path) -> list[str] | None:
    if digest is None:
        return None
    texts: list[str] = json.loads(store.fetch(digest, folder / f"{digest}.json").read_text())
    return texts


def _put_tokens(symbols: tuple[str, ...], store: ArtifactStore, folder: Path) -> str:
    write_tokens(symbols, folder / "tokens.txt")
    return store.put(folder / "tokens.txt")


def _put_texts(texts: list[str], store: ArtifactStore, folder: Path) -> str:
    write_json(folder / "texts.json", texts)
    return store.put(folder / "texts.json")
