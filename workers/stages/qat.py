"""QAT: train a network further with its numbers rounded as they will be."""

from __future__ import annotations

import torch

from spaces.recipe import PARTS
from workers.checkpoint import load_network
from workers.compress.quantization.quantize import int8_mode
from workers.compress.quantization.rounding import rounding_of
from workers.export.form import write_onnx
from workers.jobs import Qat
from workers.results import QatResult
from workers.stages.context import StageContext
from workers.stages.train import put_network, trainer_of
from workers.students.base import Student
from workers.train.placement import Placement
from workers.train.quantization import Rounded


def run(job: Qat, context: StageContext) -> QatResult:
    """Train it, and round its weights for good: the export finds them as they will be."""
    torch.set_num_threads(job.threads)
    corpus = context.corpus(job.corpus)
    network, symbols, _ = load_network(context.fetch(job.checkpoint, "parent.safetensors"))
    formats = dict(zip(PARTS, job.quantize.formats, strict=True))
    if "int8" in formats.values():
        flavour = _flavour(network, symbols, context)
        formats = {part: flavour if f == "int8" else f for part, f in formats.items()}
    rounded = Rounded(network, rounding_of(network, formats))
    with context.gpu_for(job) as gpu:
        placement = Placement.of(job, gpu)
        trainer = trainer_of(network, corpus, job, context, placement, stand_ins=rounded)
        trainer.run()
    rounded.settle(network)
    checkpoint = put_network(network, corpus, job, context)
    return QatResult(checkpoint=checkpoint, history=tuple(trainer.history))


def _flavour(network: Student, symbols: tuple[str, ...], context: StageContext) -> str:
    """What int8 means for such a network."""
    path = context.folder / "float.onnx"
    write_onnx(network, symbols, path)
    return int8_mode(path)
