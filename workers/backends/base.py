"""The contract of a backend: an inference runtime that runs an exported student.

A backend is one file with a function `open_session` and one line in the registry below. It is
imported when it is asked for, and names its extra when it is missing.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol

import numpy as np

from workers.errors import UserFault


class Session(Protocol):
    """An exported student, loaded."""

    def run(self, features: np.ndarray) -> np.ndarray:
        """Log-probabilities float32 [T', V] of one utterance, float32 [T, 80]."""
        ...


BACKENDS: dict[str, str] = {
    "onnxruntime": "workers.backends.onnxruntime",
    "stub": "workers.backends.stub",
}


def open_session(backend: str, model: Path, threads: int) -> Session:
    """Load a model file in a runtime.

    Raises:
        UserFault: for a backend that is not known, or a file that it cannot load.
    """
    if backend not in BACKENDS:
        raise UserFault(f'no backend "{backend}" (known: {", ".join(BACKENDS)})')
    session: Session = importlib.import_module(BACKENDS[backend]).open_session(model, threads)
    return session
