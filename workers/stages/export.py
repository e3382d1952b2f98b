"""Export: the ONNX file that ships, checked against its network, then quantized."""

from __future__ import annotations

import torch

from workers.checkpoint import load_network
from workers.compress.quantization.quantize import sizes_by_part
from workers.export.student import export_student
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
    network, symbols, _ = load_network(context.fetch(job.checkpoint, "network.safetensors"))
    torch.set_num_threads(1)
    with context.lock.shared():
        exported = export_student(network, symbols, corpus, job.quantize, context.folder)
    size = Reading(metric="size_mb", value=size_mb(exported.model))
    return ExportResult(
        model=context.artifacts.put(exported.model),
        float32=context.artifacts.put(exported.float32),
        tokens=context.put_tokens(symbols),
        readings=(size, *cost_readings(network)),
        parity=exported.parity,
        sizes=sizes_by_part(exported.model),
    )
