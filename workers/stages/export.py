"""Export: the ONNX file that ships, checked against its network, then quantized."""

from __future__ import annotations

from pathlib import Path

import torch

from workers.checkpoint import load_network
from workers.compress.quantization.calibration import calibration_features
from workers.compress.quantization.quantize import count_weights, sizes_by_part
from workers.data.corpus import Corpus
from workers.data.ngram import write_arpa
from workers.decoding import NGRAM, SETTINGS, BeamSearch
from workers.export.names import with_our_names
from workers.export.student import export_student, quantized
from workers.jobs import Export
from workers.measure.cost import cost_readings
from workers.models import size_mb
from workers.results import ExportResult, Reading
from workers.stages.context import StageContext


def run(job: Export, context: StageContext) -> ExportResult:
    """Write float32 and the number format of the recipe.

    Raises:
        ParityError: when the file disagrees with its network.
    """
    corpus = context.corpus(job.corpus)
    if job.checkpoint is None:
        return _quantized(job, context, corpus)
    network, symbols, _ = load_network(context.fetch(job.checkpoint, "network.safetensors"))
    torch.set_num_threads(1)
    with context.lock.shared():
        exported = export_student(network, symbols, corpus, job.quantize, context.folder)
    beside = _decoding(job, context, corpus)
    size = Reading(metric="size_mb", value=sum(map(size_mb, (exported.model, *beside.values()))))
    return ExportResult(
        model=context.artifacts.put(exported.model),
        float32=context.artifacts.put(exported.float32),
        tokens=context.put_tokens(symbols),
        readings=(size, *cost_readings(network)),
        beside={name: context.artifacts.put(path) for name, path in beside.items()},
        parity=exported.parity,
        sizes=sizes_by_part(exported.model),
        sensitivity=exported.sensitivity,
    )


def _quantized(job: Export, context: StageContext, corpus: Corpus) -> ExportResult:
    """A file that is there, in the number format of the recipe."""
    assert job.onnx is not None and job.tokens is not None
    float32 = with_our_names(context.fetch(job.onnx, "brought.onnx"), context.folder / "float.onnx")
    with context.lock.shared():
        features = calibration_features(corpus)
        model, layers = quantized(float32, job.quantize, features, context.folder)
    beside = _decoding(job, context, corpus)
    params = float(count_weights(float32)) if job.params is None else job.params
    macs = () if job.macs is None else (Reading(metric="macs", value=job.macs),)
    return ExportResult(
        model=context.artifacts.put(model),
        float32=context.artifacts.put(float32),
        tokens=job.tokens,
        readings=(
            Reading(metric="size_mb", value=sum(map(size_mb, (model, *beside.values())))),
            Reading(metric="params", value=params),
            *macs,
        ),
        sizes=sizes_by_part(model),
        sensitivity=layers,
        beside={name: context.artifacts.put(path) for name, path in beside.items()},
    )


def _decoding(job: Export, context: StageContext, corpus: Corpus) -> dict[str, Path]:
    """What ships beside the model for beam search: its settings, and the n-gram model of the
    tokens of the training transcripts."""
    if job.decode is None:
        return {}
    settings, ngram = context.folder / SETTINGS, context.folder / NGRAM
    search = BeamSearch(job.decode.beam, job.decode.lm_weight)
    settings.write_text(search.written(), encoding="utf-8")
    spoken = (u.ids for u in corpus.train)
    write_arpa(spoken, len(corpus.symbols), job.decode.lm_order, ngram)
    return {SETTINGS: settings, NGRAM: ngram}
