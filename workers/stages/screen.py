"""Screen: size, cost and latency of a student before anybody trains it."""

from __future__ import annotations

from pathlib import Path

import torch

from spaces.backends import backend_info
from spaces.recipe import Quantize
from workers.checkpoint import save_network
from workers.compress.quantization.calibration import calibration_features
from workers.data.corpus import Corpus
from workers.errors import DeviceRefused, DeviceUnreachable
from workers.export.convert import convert
from workers.export.student import export_student
from workers.jobs import Screen
from workers.measure.cost import cost_readings
from workers.measure.readings import timed_readings
from workers.measure.scoring import lengths_of
from workers.measure.timed_audio import TimedModel, request_for
from workers.models import size_mb
from workers.results import Reading, ScreenResult
from workers.stages.context import StageContext
from workers.students.base import untrained_student
from workers.targets.reach import measure_on


def run(job: Screen, context: StageContext) -> ScreenResult:
    """Export the untrained student and time it quickly on every target that can be asked."""
    corpus = context.corpus(job.corpus)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with context.lock.shared():
        network = untrained_student(job.student, corpus).eval()
        exported = export_student(network, corpus.symbols, corpus, job.quantize, context.folder)
        save_network(network, corpus.symbols, context.folder / "fresh.safetensors", job="screen")
    readings = cost_readings(network)
    skipped = {}
    for name, target in job.targets.items():
        if backend_info(target.backend).slow_to_prepare:
            skipped[name] = f"{target.backend} takes long to prepare"
            continue
        files = [exported.model]
        if target.backend != "onnxruntime":
            files = _converted(target.backend, exported.float32, job.quantize, corpus, context)
        size = sum(map(size_mb, files))
        readings.append(Reading(target=name, metric="size_mb", value=size))
        tokens = corpus.folder / "tokens.txt"
        models = [TimedModel(target.backend, files[0], tokens, corpus.front_end)]
        request = request_for(target, corpus, models, is_quick=True)
        try:
            timed = measure_on(target, request, context.workspace.locks)[0]
            readings += timed_readings(timed, name, stream_limit_ms=target.stream_limit_ms)
        except (DeviceUnreachable, DeviceRefused) as error:  # is measured later instead
            skipped[name] = str(error)
    return ScreenResult(readings=tuple(readings), not_screened_on=skipped)


def _converted(
    backend: str, float32: Path, scheme: Quantize, corpus: Corpus, context: StageContext
) -> list[Path]:
    """An untrained student in the form of another runtime."""
    into = context.folder / backend
    into.mkdir(exist_ok=True)
    network, lengths = context.folder / "fresh.safetensors", lengths_of(corpus, long_audio=False)
    with context.lock.shared():
        calibration = calibration_features(corpus)
        return convert(backend, float32, network, scheme, calibration, lengths, into)
