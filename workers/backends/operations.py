"""What a child process does with a runtime: prepare a student, recognise utterances."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workers.backends.base import Settings, Source, load_backend, open_session
from workers.data.features import N_MELS
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
    """The likeliest symbol of each output frame, utterance by utterance, as on a device."""
    settings = Settings(**request["settings"])
    session = open_session(request["backend"], Path(request["model"]), settings)
    frames = np.memmap(request["features"], np.float32, "r").reshape(-1, N_MELS)
    ids = []
    for start, n_frames in request["at"]:
        utterance = np.ascontiguousarray(frames[start : start + n_frames], np.float32)
        ids.append(session.run(utterance).argmax(-1).tolist())
    session.close()
    return ids


def infer(request: Request) -> None:
    """Log-probabilities of one utterance, from one .npy file into another."""
    settings = Settings(**request["settings"])
    session = open_session(request["backend"], Path(request["model"]), settings)
    np.save(request["log_probs"], session.run(np.load(request["features"])))
    session.close()
