"""Convert: the same student in the form of another runtime."""

from __future__ import annotations

from workers.compress.quantization.calibration import calibration_features
from workers.export.convert import convert
from workers.jobs import Convert
from workers.measure.scoring import lengths_of
from workers.models import size_mb
from workers.results import ConvertResult, Model, Reading
from workers.stages.context import StageContext


def run(job: Convert, context: StageContext) -> ConvertResult:
    """Prepare the files of a runtime in its own process.

    Raises:
        UserFault: for a student that the runtime cannot take.
    """
    corpus = context.corpus(job.corpus)
    onnx = context.fetch(job.onnx, "float.onnx")
    network = None
    if job.network is not None:
        network = context.fetch(job.network, "network.safetensors")
    lengths = lengths_of(corpus, job.long_audio)
    with context.lock.shared():
        calibration = calibration_features(corpus)
        files = convert(
            job.backend, onnx, network, job.quantize, calibration, lengths, context.folder
        )
    put = context.artifacts.put
    return ConvertResult(
        readings=(Reading(metric="size_mb", value=sum(map(size_mb, files))),),
        model=Model(backend=job.backend, main=files[0].name, files={f.name: put(f) for f in files}),
    )
