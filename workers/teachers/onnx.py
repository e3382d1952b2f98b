"""A teacher that is an ONNX CTC file in the contract of the exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workers.backends.base import Session, Settings, open_session
from workers.backends.isolated_session import open_isolated
from workers.data.features import FRAMES_PER_SECOND, N_MELS
from workers.data.text import BlankFirst, read_tokens, with_blank_first
from workers.errors import TeacherFault, UserFault, WorkError
from workers.teachers.base import TeacherOutput

_SECOND = np.zeros((FRAMES_PER_SECOND, N_MELS), np.float32)


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
    found = _symbols(model, tokens)
    try:
        session = open_session("onnxruntime", model)
    except UserFault as error:
        raise TeacherFault(str(error)) from error
    try:
        log_probs = session.run(_SECOND)
    except UserFault as error:
        raise TeacherFault(str(error)) from error
    except Exception as error:  # onnxruntime raises a dozen types of its own
        raise _cannot_run(model, error) from error
    _check_fit(log_probs.shape[1], model, found, tokens)
    return session, found


def check_onnx(model: Path, tokens: Path) -> None:
    """The same in a process of its own, for a file that may be anybody's.

    Raises:
        TeacherFault: when the file cannot be run, or does not fit its tokens.
    """
    found = _symbols(model, tokens)
    try:
        session = open_isolated("onnxruntime", model, Settings())
    except UserFault as error:
        raise TeacherFault(str(error)) from error
    try:
        n_symbols = session.listen(_SECOND).n_symbols
    except UserFault as error:
        raise TeacherFault(str(error)) from error
    except WorkError as error:
        raise _cannot_run(model, error) from error
    finally:
        session.close()
    _check_fit(n_symbols, model, found, tokens)


def _symbols(model: Path, tokens: Path) -> BlankFirst:
    if not model.is_file():
        raise TeacherFault(f"{model}: no such file")
    try:
        return with_blank_first(read_tokens(tokens), tokens)
    except ValueError as error:
        raise TeacherFault(str(error)) from error


def _cannot_run(model: Path, error: Exception) -> TeacherFault:
    reason = str(error).strip().splitlines()[0][:300]
    return TeacherFault(f"{model}: cannot run on a second of audio ({reason})")


def _check_fit(n_symbols: int, model: Path, found: BlankFirst, tokens: Path) -> None:
    if n_symbols != len(found.symbols):
        raise TeacherFault(
            f"{model}: writes {n_symbols} symbols, but {tokens} lists {len(found.symbols)}"
        )
