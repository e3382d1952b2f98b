"""A student in the form of another runtime, made in that runtime's own process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spaces.recipe import Quantize
from workers.backends.environments import interpreter_of
from workers.isolated_call import call


def convert(
    backend: str,
    onnx: Path,
    network: Path | None,
    scheme: Quantize,
    calibration: list[np.ndarray],
    lengths: tuple[int, ...],
    folder: Path,
) -> list[Path]:
    """Files of the student, the main one first.

    Args:
        onnx: the student in float32.
        network: its checkpoint, where there is one.
        calibration: features float32 [T, 80] of training audio.
        lengths: frames that are to fit a runtime of fixed lengths, ascending.

    Raises:
        UserFault: for a student that the runtime cannot take.
        WorkError: when the runtime's tools fail.
    """
    packed = None
    if set(scheme.formats) != {"fp32"}:
        packed = folder / "calibration.npz"
        np.savez(packed, *calibration)
    target = folder / "converted"
    request = {
        "backend": backend,
        "onnx": str(onnx),
        "network": None if network is None else str(network),
        "formats": list(scheme.formats),
        "calibration": None if packed is None else str(packed),
        "lengths": list(lengths),
        "folder": str(target),
    }
    names = call("prepare", request, interpreter_of(backend))
    return [target / name for name in names]
