"""Hours of audio as stretches of speech that a recogniser takes, in the memory of one of them.

Voice activity is told by WebRTC's detector, through the library that wraps it. A stretch begins a
little before the first voice and ends a little after the last, where nobody speaks for 0.4 s; where
somebody speaks for longer than a recogniser should be given, it is cut at the quietest place near
the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import webrtcvad

from workers.data.features import SAMPLE_RATE_HZ

LONGEST_S = 25.0
_STEP = SAMPLE_RATE_HZ * 30 // 1000  # the detector hears 30 ms at a time
_STRICTNESS = 1  # 0 to 3: what is no speech for sure is left out
_AROUND = 5  # steps that are heard before the first voice and after the last
_PAUSE = 13  # steps without a voice that end a stretch
_LONGEST = int(LONGEST_S * SAMPLE_RATE_HZ) // _STEP
_SEARCHED = 133  # steps at the end of a long stretch, four seconds, for the quietest


@dataclass(frozen=True)
class Segment:
    """Samples float32 [n] at 16 kHz, and where in the recording they begin."""

    start_s: float
    samples: np.ndarray


def speech_segments(blocks: Iterable[np.ndarray]) -> Iterator[Segment]:
    """The stretches of a recording in which somebody speaks.

    Args:
        blocks: its samples, float32 [n] at 16 kHz, of any length each.
    """
    detector = webrtcvad.Vad(_STRICTNESS)
    cutter = _Cutter()
    for number, step in enumerate(_steps(blocks)):
        pcm = (np.clip(step, -1.0, 1.0) * 32767).astype(np.int16).tobytes()
        yield from cutter.add(number, step, detector.is_speech(pcm, SAMPLE_RATE_HZ))
    yield from cutter.rest()


def _steps(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """All samples, `_STEP` at a time; the last step is filled up with silence."""
    left = np.empty(0, np.float32)
    for block in blocks:
        left = np.concatenate([left, block])
        n_whole = len(left) // _STEP * _STEP
        yield from left[:n_whole].reshape(-1, _STEP)
        left = left[n_whole:]
    if len(left):
        yield np.pad(left, (0, _STEP - len(left)))


class _Cutter:
    """Collects steps, and gives a stretch away as soon as it has ended."""

    def __init__(self) -> None:
        self._steps: list[np.ndarray] = []
        self._first = 0  # number of the first of them
        self._is_speech = False
        self._n_silent = 0

    def add(self, number: int, step: np.ndarray, has_voice: bool) -> Iterator[Segment]:
        if not self._steps:
            self._first = number
        self._steps.append(step)
        self._n_silent = 0 if has_voice else self._n_silent + 1
        if not self._is_speech:
            self._is_speech = has_voice
            if not has_voice and len(self._steps) > _AROUND:
                self._drop(1)
        elif self._n_silent >= _PAUSE:
            yield self._cut(len(self._steps) - self._n_silent + _AROUND)
        elif len(self._steps) >= _LONGEST:
            yield self._cut(self._quietest())

    def rest(self) -> Iterator[Segment]:
        """What was spoken last."""
        if self._is_speech:
            yield self._cut(len(self._steps))

    def _quietest(self) -> int:
        """After which of the last steps a long stretch is cut."""
        energy = [float(np.square(step).sum()) for step in self._steps[-_SEARCHED:]]
        return len(self._steps) - _SEARCHED + int(np.argmin(energy)) + 1

    def _cut(self, n_steps: int) -> Segment:
        samples = np.concatenate(self._steps[:n_steps])
        segment = Segment(self._first * _STEP / SAMPLE_RATE_HZ, samples)
        self._drop(n_steps)
        self._is_speech = self._n_silent < _PAUSE and bool(self._steps)
        if not self._is_speech:
            self._drop(max(0, len(self._steps) - _AROUND))
        return segment

    def _drop(self, n_steps: int) -> None:
        del self._steps[:n_steps]
        self._first += n_steps
