"""What a child process does for `search serve`: features and network of many at once.

Nothing of a speaker stays here: the state of a stream comes and goes with its windows, so that a
process that is lost loses nobody. Numbers travel as text; what is all zeros does not.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from spaces.front_end import FrontEnd
from workers.backends.base import Session, Settings, open_session
from workers.backends.windows import State, Windows
from workers.data.features import SAMPLE_RATE_HZ
from workers.data.sources import at_rate_of
from workers.decoding import Decoder, decoder_beside
from workers.isolated_call import Request
from workers.live import Part, window_of

_SPREAD = 1.5  # how much longer than the shortest an utterance of a batch may be

Packed = dict[str, str]  # of a state: the tensors that are not all zeros, by their place


def packed(values: np.ndarray) -> str:
    """Samples or a tensor as text."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def samples_of(text: str) -> np.ndarray:
    """float32 [n]."""
    return np.frombuffer(base64.b64decode(text), np.float32)


def packed_state(state: State) -> Packed:
    return {str(i): packed(tensor) for i, tensor in enumerate(state) if tensor.any()}


def state_of(given: Packed, windows: Windows) -> State:
    """A state as it was packed."""
    return tuple(
        np.frombuffer(base64.b64decode(given[str(i)]), first.dtype).reshape(first.shape)
        if str(i) in given
        else first
        for i, first in enumerate(windows.first)
    )


def serve(request: Request) -> object:
    """`open` loads a model; `utterances` and `windows` are heard by it, many at once."""
    session, decode = _opened(request["backend"], request["model"], request["threads"])
    fbank = _fbank(request["front_end"], request["fast"])
    if request["kind"] == "open":
        noise = np.random.default_rng(0).normal(0, 0.01, SAMPLE_RATE_HZ).astype(np.float32)
        log_probs = session.run(fbank(noise))
        decode(log_probs)
        windows: Windows | None = getattr(session, "windows", None)
        shape = (None, None) if windows is None else (windows.window, windows.shift)
        return {"window": shape[0], "shift": shape[1], "n_symbols": log_probs.shape[1]}
    if request["kind"] == "utterances":
        heard = [fbank(samples_of(s)) for s in request["samples"]]
        return [decode(log_probs) for log_probs in _utterances(session, heard)]
    return _windows(session, request["streams"], fbank)


def _utterances(session: Session, features: list[np.ndarray]) -> list[np.ndarray]:
    """Log-probabilities float32 [T', V] of each utterance."""
    found: dict[int, np.ndarray] = {}
    for group in _of_like_length(features):
        together = [features[i] for i in group]
        run_many: Callable[[list[np.ndarray]], list[np.ndarray]] | None
        run_many = getattr(session, "run_many", None)
        if run_many is None or len(group) == 1:
            written = [session.run(each) for each in together]
        else:
            written = run_many(together)
        found.update(zip(group, written, strict=True))
    return [found[i] for i in range(len(features))]


def _of_like_length(features: Sequence[np.ndarray]) -> list[list[int]]:
    """Groups in which little is padded."""
    groups: list[list[int]] = []
    for i in sorted(range(len(features)), key=lambda i: len(features[i])):
        if groups and len(features[i]) <= _SPREAD * len(features[groups[-1][0]]):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _windows(
    session: Any, streams: list[Request], fbank: Callable[[np.ndarray], np.ndarray]
) -> list[dict[str, object]]:
    """The next chunk of each stream, and its state after it."""
    windows: Windows = session.windows
    given = [
        window_of(Part(samples_of(s["samples"]), s["before"]), windows.window, fbank)
        for s in streams
    ]
    states = [state_of(s["state"], windows) for s in streams]
    log_probs, after = session.step(np.stack(given), windows.stacked(states))
    apart = windows.apart(after, len(streams))
    return [
        {"ids": row.argmax(-1).tolist(), "state": packed_state(state)}
        for row, state in zip(log_probs, apart, strict=True)
    ]


@lru_cache(1)
def _opened(backend: str, model: str, threads: int) -> tuple[Session, Decoder]:
    session = open_session(backend, Path(model), Settings(threads=threads))
    return session, decoder_beside(Path(model))


@lru_cache(1)
def _fbank(code: str, fast: bool) -> Callable[[np.ndarray], np.ndarray]:
    front_end = FrontEnd.of_code(code)
    if fast:
        from workers.data.features_numpy import fbank_numpy as fbank
    else:
        from workers.data.features import fbank
    heard = partial(fbank, front_end=front_end)
    return lambda samples: heard(at_rate_of(front_end, samples))
