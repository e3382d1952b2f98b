"""The files of a teacher that a user brings, checked before anything is started: no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from spaces.space import Teacher
from workers.backends.base import Session, open_session
from workers.data.features import FRAMES_PER_SECOND, N_MELS
from workers.data.text import BLANK, read_tokens
from workers.errors import TeacherFault, UserFault

CHECKPOINT_FORMAT = "compression-search student 1"
_BLANKS = (BLANK, "<blank>", "<pad>", "[PAD]", "-")  # the last is torchaudio's


def check_files(config: Teacher) -> None:
    """Check what can be known of a teacher's files without its network.

    Raises:
        TeacherFault: naming the file and what is wrong with it.
    """
    if config.checkpoint is not None:
        _check_checkpoint(Path(config.checkpoint))
    if config.onnx is not None:
        assert config.tokens is not None
        open_onnx(Path(config.onnx), Path(config.tokens))


def _check_checkpoint(path: Path) -> None:
    if not path.is_file():
        raise TeacherFault(f"{path}: no such checkpoint")
    try:
        with safe_open(path, "np") as file:
            header = header_of(file)
    except (SafetensorError, OSError) as error:
        raise TeacherFault(f"{path}: is no safetensors checkpoint ({error})") from error
    if header.get("format") != CHECKPOINT_FORMAT:
        raise not_ours(path)


def header_of(file: safe_open) -> dict[str, Any]:
    """What a checkpoint says of itself; empty for a file of another program."""
    try:
        header = json.loads((file.metadata() or {}).get("header", "{}"))
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def not_ours(path: Path) -> TeacherFault:
    return TeacherFault(
        f"{path}: is not a checkpoint written by this program; bring a network of another kind "
        "as onnx: with tokens:, or as huggingface:"
    )


class Symbols(tuple[str, ...]):
    """Symbols, the blank first; `order` is where each was in the teacher's own output."""

    order: list[int]


def with_blank_first(symbols: tuple[str, ...], where: object) -> Symbols:
    """The same symbols with the blank, by its one name, in front.

    Raises:
        TeacherFault: when there is no blank.
    """
    blank = next((s for s in _BLANKS if s in symbols), None)
    if blank is None:
        others = ", ".join(_BLANKS[1:])
        raise TeacherFault(f"{where}: holds no {BLANK} (nor {others}): name the blank of CTC so")
    place = symbols.index(blank)
    order = [place, *(i for i in range(len(symbols)) if i != place)]
    made = Symbols([BLANK, *(symbols[i] for i in order[1:])])
    made.order = order
    return made


def blank_named(symbols: tuple[str, ...], where: object) -> tuple[str, ...]:
    """The same symbols in their order, the blank by its one name.

    Raises:
        TeacherFault: when there is no blank.
    """
    place = with_blank_first(symbols, where).order[0]
    return (*symbols[:place], BLANK, *symbols[place + 1 :])


def open_onnx(model: Path, tokens: Path) -> tuple[Session, Symbols]:
    """An ONNX CTC file in the contract of the exports, and what it writes.

    Raises:
        TeacherFault: when the file cannot be run, or does not fit its tokens.
    """
    if not model.is_file():
        raise TeacherFault(f"{model}: no such file")
    try:
        symbols = with_blank_first(read_tokens(tokens), tokens)
        session = open_session("onnxruntime", model)
    except (ValueError, UserFault) as error:
        raise TeacherFault(str(error)) from error
    try:
        log_probs = session.run(np.zeros((FRAMES_PER_SECOND, N_MELS), np.float32))
    except Exception as error:  # onnxruntime raises a dozen types of its own
        reason = str(error).strip().splitlines()[0][:300]
        raise TeacherFault(f"{model}: cannot run on a second of audio ({reason})") from error
    if log_probs.shape[1] != len(symbols):
        raise TeacherFault(
            f"{model}: writes {log_probs.shape[1]} symbols, but {tokens} lists {len(symbols)}"
        )
    return session, symbols
