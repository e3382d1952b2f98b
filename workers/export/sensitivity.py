"""How much each layer suffers from fewer bits: one layer at a time, on real audio."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spaces.recipe import PARTS, Quantize
from workers.backends.base import open_session
from workers.compress.quantization.parts import multiplying, part_of
from workers.compress.quantization.quantize import quantize
from workers.results import LayerLoss

_KINDS = ("MatMul", "Gemm", "Conv", "LSTM", "GRU")
_AUDIO = 6  # utterances
_BROKEN = 1e9  # where what is said is no number any more


def sensitivities(
    source: Path, scheme: Quantize, calibration: Sequence[np.ndarray]
) -> tuple[LayerLoss, ...]:
    """Of every layer that the scheme quantizes, what its quantization alone does to what the
    network says: the mean Kullback-Leibler divergence of a frame, most first.

    Args:
        source: the float32 file.
        calibration: real features float32 [T, mels].
    """
    formats = dict(zip(PARTS, scheme.formats, strict=True))
    names = multiplying(source, _KINDS, lambda name: formats[part_of(name)].startswith("int"))
    heard = calibration[:_AUDIO]
    wanted = _said(source, heard)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / "one.onnx"
            quantize(source, path, scheme, heard, only=name)
            found.append(LayerLoss(name=name, divergence=_divergence(wanted, _said(path, heard))))
    return tuple(sorted(found, key=lambda layer: -layer.divergence))


def _said(path: Path, utterances: Sequence[np.ndarray]) -> np.ndarray:
    session = open_session("onnxruntime", path)
    said = np.concatenate([session.run(np.ascontiguousarray(u)) for u in utterances])
    session.close()
    return said


def _divergence(wanted: np.ndarray, got: np.ndarray) -> float:
    found = float((np.exp(wanted) * (wanted - got)).sum(-1).mean())
    return max(0.0, found) if np.isfinite(found) else _BROKEN
