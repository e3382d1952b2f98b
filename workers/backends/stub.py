"""A backend without a runtime, for tests: says the same two symbols of any utterance."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from workers.backends.base import OperatorTime, Settings, Source
from workers.errors import UserFault


class StubSession:
    """Blank everywhere but symbol 1 on the first frame."""

    def run(self, features: np.ndarray) -> np.ndarray:
        n_frames = (len(features) + 3) // 4
        log_probs = np.full((n_frames, 2), -10.0, np.float32)
        log_probs[:, 0] = 0.0
        log_probs[0] = -10.0, 0.0
        return log_probs

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:  # noqa: ARG002
        return None

    def close(self) -> None:
        pass


def prepare(source: Source, folder: Path) -> tuple[str, ...]:
    shutil.copyfile(source.onnx, folder / "model.onnx")
    return ("model.onnx",)


def open_session(model: Path, _settings: Settings) -> StubSession:
    if not model.is_file():
        raise UserFault(f"{model}: no such model")
    return StubSession()


def version() -> str:
    return "stub 1"
