"""What a child process does with a runtime: prepare a student, recognise utterances."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from workers.backends.base import Session, Settings, Source, load_backend, open_session
from workers.data.features import N_MELS
from workers.decoding import Decoder, decoder_beside
from workers.isolated_call import Request


def prepare(request: Request) -> list[str]:
    """Write a student in a runtime's own form; names of the files, the main one first."""
    calibration: list[np.ndarray] = []
    if request["calibration"]:
        with np.load(request["calibration"]) as arrays:
            calibration = [arrays[name] for name in arrays.files]
    source = Source(
        onnx=Path(request["onnx"]),
        network=Path(request["network"]) if request["network"] else None,
        formats=tuple(request["formats"]),
        calibration=calibration,
        lengths=tuple(request["lengths"]),
    )
    folder = Path(request["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    return list(load_backend(request["backend"]).prepare(source, folder))


def recognise(request: Request) -> list[list[int]]:
    """The symbol of each output frame, utterance by utterance, as on a device."""
    settings = Settings(**request["settings"])
    session = open_session(request["backend"], Path(request["model"]), settings)
    decode = decoder_beside(Path(request["model"]))
    frames = np.memmap(request["features"], np.float32, "r").reshape(
        -1, request.get("mels", N_MELS)
    )
    ids = []
    for start, n_frames in request["at"]:
        utterance = np.ascontiguousarray(frames[start : start + n_frames], np.float32)
        ids.append(decode(session.run(utterance)))
    session.close()
    return ids


def listen(request: Request) -> dict[str, object] | None:
    """The likeliest symbol of each output frame of one utterance, and of how many; None without
    an utterance: the model is only loaded. It stays so for the next call in the same process."""
    settings = tuple(request["settings"].items())
    session, decode = _opened(request["backend"], request["model"], settings)
    if request["features"] is None:
        return None
    frames = np.fromfile(request["features"], np.float32).reshape(-1, request.get("mels", N_MELS))
    log_probs = session.run(frames)
    _, n_symbols = log_probs.shape
    return {"ids": decode(log_probs), "n_symbols": n_symbols}


@lru_cache(1)
def _opened(
    backend: str, model: str, settings: tuple[tuple[str, Any], ...]
) -> tuple[Session, Decoder]:
    session = open_session(backend, Path(model), Settings(**dict(settings)))
    return session, decoder_beside(Path(model))
