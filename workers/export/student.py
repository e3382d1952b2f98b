"""The ONNX files of a student: float32, checked, and the number format that ships."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spaces.recipe import Quantize
from workers.backends.base import Source, load_backend
from workers.compress.quantization.calibration import calibration_features
from workers.data.corpus import Corpus, spread
from workers.export.onnx import export_onnx
from workers.export.parity import check_parity
from workers.students.base import Student

_N_PARITY = 6  # utterances, short to long


@dataclass(frozen=True)
class ExportedStudent:
    """`parity` is the largest difference of log-probabilities of `float32` and the network."""

    float32: Path
    model: Path
    parity: float


def export_student(
    network: Student, symbols: tuple[str, ...], corpus: Corpus, scheme: Quantize, folder: Path
) -> ExportedStudent:
    """Write both files of a network in evaluation mode.

    Raises:
        ParityError: when the file disagrees with the network.
    """
    float32 = folder / "float.onnx"
    export_onnx(network, symbols, float32)
    by_length = sorted(corpus.dev, key=lambda u: u.at[0][1])
    parity = check_parity(
        network, float32, [corpus.frames(u) for u in spread(by_length, _N_PARITY)]
    )
    calibration = calibration_features(corpus)
    source = Source(onnx=float32, formats=scheme.formats, calibration=calibration)
    (name,) = load_backend("onnxruntime").prepare(source, folder)
    return ExportedStudent(float32, folder / name, parity)
