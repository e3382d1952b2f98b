"""Recordings of which it is known when each word was said: the synthesiser tells."""

from __future__ import annotations

import ctypes
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from workers.data.features import SAMPLE_RATE_HZ
from workers.data.synthetic import Espeak, sentence

_WORD = 1


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class _TimedEspeak(Espeak):
    """Remembers where words begin, in milliseconds."""

    def __init__(self) -> None:
        self.begun_ms: list[int] = []
        super().__init__()

    def _receive(self, samples: object, count: int, events: object) -> int:
        if events:
            told = ctypes.cast(events, ctypes.POINTER(_Event))
            i = 0
            while told[i].type != 0:
                if told[i].type == _WORD:
                    self.begun_ms.append(told[i].audio_position)
                i += 1
        return super()._receive(samples, count, events)


@dataclass(frozen=True)
class SpokenWord:
    """A word and where in the recording it begins, in seconds."""

    text: str
    start_s: float


def write_recording(path: Path, duration_s: float, seed: int = 0) -> list[SpokenWord]:
    """Sentences one after the other, with pauses of a quarter of a second to three seconds; the
    words that were said. It is written as it is spoken, so that it may last for hours."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    espeak, words, at = _TimedEspeak(), [], 0
    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 1, "PCM_16") as file:
        while at < duration_s * SAMPLE_RATE_HZ:
            text = sentence(rng)
            espeak.begun_ms = []
            samples = espeak.speak(text, "en-us", 140, 50)
            heard = soxr.resample(samples, espeak.rate_hz, SAMPLE_RATE_HZ)
            for word, begun_ms in zip(text.split(), espeak.begun_ms, strict=False):
                words.append(SpokenWord(word, at / SAMPLE_RATE_HZ + begun_ms / 1000))
            pause = np.zeros(int(rng.uniform(0.25, 3.0) * SAMPLE_RATE_HZ), np.float32)
            both = np.concatenate([heard, pause])
            file.write(both + noise.normal(0, 4e-3, len(both)).astype(np.float32))
            at += len(both)
    return words
