"""A model fed with live speech, at full and at real speed: what a speaker waits for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from workers.backends.windows import State, Windows
from workers.data.features import FRAMES_PER_SECOND, SAMPLE_RATE_HZ
from workers.live import Fbank, Listener, Said

_PIECE_S = 0.04  # of audio that a microphone hands over at a time
_MOST_LIVE_S = 16.0  # of audio that is fed at real speed
_LOUD, _QUIET = 95, 5  # percentiles; speech begins halfway between them


class LiveSession(Protocol):
    """A session of a model that hears live speech."""

    windows: Windows

    def step(self, windows: np.ndarray, state: State) -> tuple[np.ndarray, State]: ...


@dataclass
class LiveTimes:
    """In milliseconds: what a chunk takes at full speed; at real speed, from where speech begins to
    the first text, from where a symbol was spoken to where it is read, from the end of the audio
    to the last text."""

    chunk_s: float
    chunk_ms: list[float] = field(default_factory=list)
    first_token_ms: list[float] = field(default_factory=list)
    emission_delay_ms: list[float] = field(default_factory=list)
    final_ms: list[float] = field(default_factory=list)


def heard_live(
    session: LiveSession,
    fbank: Fbank,
    symbols: Sequence[str],
    audio: Sequence[np.ndarray],
    at_real_speed: bool,
) -> LiveTimes:
    """Feed all utterances at full speed, and if asked some of them as they were spoken."""
    times = LiveTimes(session.windows.shift / FRAMES_PER_SECOND)
    for samples in audio:
        listener = Listener(session.windows, fbank, symbols)
        listener.accept(samples)
        listener.finish()
        start = time.perf_counter()
        while (window := listener.next_window()) is not None:
            _hear(session, listener, window)
            now = time.perf_counter()
            times.chunk_ms.append((now - start) * 1000)
            start = now
    if at_real_speed:
        spent_s = 0.0
        for samples in audio:
            if spent_s < _MOST_LIVE_S:
                _feed_as_spoken(session, Listener(session.windows, fbank, symbols), samples, times)
                spent_s += len(samples) / SAMPLE_RATE_HZ
    return times


def _hear(session: LiveSession, listener: Listener, window: np.ndarray) -> list[Said]:
    log_probs, state = session.step(window[None], listener.state)
    return listener.take(log_probs[0], state)


def _feed_as_spoken(
    session: LiveSession, listener: Listener, samples: np.ndarray, times: LiveTimes
) -> None:
    piece, onset_s = round(_PIECE_S * SAMPLE_RATE_HZ), speech_begins_s(samples)
    start, is_first = time.perf_counter(), True

    def heard_s() -> float:
        return time.perf_counter() - start

    def note(said: Sequence[Said]) -> None:
        nonlocal is_first
        now_s = heard_s()
        times.emission_delay_ms.extend((now_s - s.end_s) * 1000 for s in said)
        if said and is_first:
            is_first = False
            times.first_token_ms.append((now_s - onset_s) * 1000)

    for begin in range(0, len(samples), piece):
        given = samples[begin : begin + piece]
        time.sleep(max(0.0, (begin + len(given)) / SAMPLE_RATE_HZ - heard_s()))
        listener.accept(given)
        while (window := listener.next_window()) is not None:
            note(_hear(session, listener, window))
    end_s = heard_s()
    listener.finish()
    while (window := listener.next_window()) is not None:
        _hear(session, listener, window)
    times.final_ms.append((heard_s() - end_s) * 1000)


def speech_begins_s(samples: np.ndarray) -> float:
    """Where it gets loud: halfway, in decibels, between what is quiet and what is loud in it."""
    frame = SAMPLE_RATE_HZ // FRAMES_PER_SECOND
    n_frames = max(1, len(samples) // frame)
    frames = np.resize(samples, n_frames * frame).reshape(n_frames, frame).astype(np.float64)
    loudness_db = 10 * np.log10(np.square(frames).mean(1) + 1e-10)
    between = np.percentile(loudness_db, [_QUIET, _LOUD]).mean()
    return float(np.argmax(loudness_db >= between)) * frame / SAMPLE_RATE_HZ
