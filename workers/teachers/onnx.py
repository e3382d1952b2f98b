"""A teacher that is an ONNX CTC file in the contract of the exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workers.backends.base import Session, open_session
from workers.data.features import FRAMES_PER_SECOND, N_MELS
from workers.data.text import BlankFirst, read_tokens, with_blank_first
from workers.errors import TeacherFault, UserFault
from workers.teachers.base import TeacherOutput


class OnnxTeacher:
    """Any ONNX CTC file in the contract of the exports."""

    wants_samples = False
    n_parameters: int | None = None

    def __init__(self, model: Path, tokens: Path) -> None:
        self._session, found = open_onnx(model, tokens)
        self.symbols, self._order = found.symbols, list(found.order)

    def infer(self, features: np.ndarray) -> TeacherOutput:
        log_probs = self._session.run(np.ascontiguousarray(features))
        return TeacherOutput(log_probs[:, self._order], None)


def open_onnx(model: Path, tokens: Path) -> tuple[Session, BlankFirst]:
    """An ONNX CTC file in the contract of the exports, and what it writes.

    Raises:
        TeacherFault: when the file cannot be run, or does not fit its tokens.
    """
    if not model.is_file():
        raise TeacherFault(f"{model}: no such file")
    try:
        found = with_blank_first(read_tokens(tokens), tokens)
        session = open_session("onnxruntime", model)
    except (ValueError, UserFault) as error:
        raise TeacherFault(str(error)) from error
    try:
        log_probs = session.run(np.zeros((FRAMES_PER_SECOND, N_MELS), np.float32))
    except Exception as error:  # onnxruntime raises a dozen types of its own
        reason = str(error).strip().splitlines()[0][:300]
        raise TeacherFault(f"{model}: cannot run on a second of audio ({reason})") from error
    if log_probs.shape[1] != len(found.symbols):
        raise TeacherFault(
            f"{model}: writes {log_probs.shape[1]} symbols, but {tokens} lists {len(found.symbols)}"
        )
    return session, found
