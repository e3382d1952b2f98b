"""A session of a runtime that lives in an environment of its own: a process an utterance."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from workers.backends.base import OperatorTime, Session, Settings, open_session
from workers.backends.environments import interpreter_of
from workers.isolated_call import call


class RemoteSession:
    """Starts the runtime anew for each utterance: for trying a model out, not for timing it."""

    def __init__(self, backend: str, model: Path, settings: Settings, interpreter: Path) -> None:
        self._request = {"backend": backend, "model": str(model), "settings": asdict(settings)}
        self._interpreter = interpreter

    def run(self, features: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            given, answer = Path(folder) / "features.npy", Path(folder) / "log_probs.npy"
            np.save(given, features)
            paths = {"features": str(given), "log_probs": str(answer)}
            call("infer", {**self._request, **paths}, self._interpreter)
            log_probs: np.ndarray = np.load(answer)
        return log_probs

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:  # noqa: ARG002
        return None

    def close(self) -> None:
        pass


def open_isolated(backend: str, model: Path, settings: Settings) -> Session:
    """A session in this process, or in the environment that the backend has of its own.

    Raises:
        UserFault: for a backend that is not installed, or a file that it cannot load.
    """
    interpreter = interpreter_of(backend)
    if interpreter == Path(sys.executable):
        return open_session(backend, model, settings)
    return RemoteSession(backend, model, settings, interpreter)
