"""The ONNX files of a student: float32, checked, and the number format that ships."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spaces.recipe import Quantize
from workers.backends.base import Source, load_backend
from workers.compress.quantization.calibration import calibration_features
from workers.compress.quantization.equalise import equalise
from workers.data.corpus import Corpus, spread
from workers.export.form import write_onnx
from workers.export.parity import check_parity
from workers.export.sensitivity import sensitivities
from workers.results import LayerLoss
from workers.students.base import Student

_N_PARITY = 6  # utterances, short to long


@dataclass(frozen=True)
class ExportedStudent:
    """`parity` is the largest difference of log-probabilities of `float32` and the network."""

    float32: Path
    model: Path
    parity: float
    sensitivity: tuple[LayerLoss, ...] = ()


def export_student(
    network: Student, symbols: tuple[str, ...], corpus: Corpus, scheme: Quantize, folder: Path
) -> ExportedStudent:
    """Write both files of a network in evaluation mode.

    Raises:
        ParityError: when the file disagrees with the network.
    """
    float32 = folder / "float.onnx"
    write_onnx(network, symbols, float32)
    by_length = sorted(corpus.dev, key=lambda u: u.at[0][1])
    parity = check_parity(
        network, float32, [corpus.frames(u) for u in spread(by_length, _N_PARITY)]
    )
    model, layers = quantized(float32, scheme, calibration_features(corpus), folder)
    return ExportedStudent(float32, model, parity, layers)


def quantized(
    float32: Path, scheme: Quantize, calibration: Sequence[np.ndarray], folder: Path
) -> tuple[Path, tuple[LayerLoss, ...]]:
    """A float32 file as it ships, and how much each layer suffers where some are kept."""
    layers: tuple[LayerLoss, ...] = ()
    if scheme.equalise:
        even = folder / "even.onnx"
        shutil.copyfile(float32, even)
        equalise(even, calibration)
        float32 = even
    if scheme.keep:
        layers = sensitivities(float32, scheme, calibration)
    source = Source(
        onnx=float32,
        formats=scheme.formats,
        calibration=calibration,
        ranges=scheme.calibration,
        kept=tuple(layer.name for layer in layers[: scheme.keep]),
    )
    (name,) = load_backend("onnxruntime").prepare(source, folder)
    return folder / name, layers
