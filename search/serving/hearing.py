"""Recordings and live speech, heard by a pool of processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from search.serving.workers import Pool
from workers.backends.serving import packed
from workers.backends.windows import Windows
from workers.data.audio import open_audio
from workers.data.features import SAMPLE_RATE_HZ
from workers.data.speech_segments import LONGEST_S, Segment, speech_segments
from workers.live import Listener
from workers.recognizer import timed_words, with_silent_end
from workers.transcript import Word

_AT_ONCE = 8  # segments of one recording


class TooLong(Exception):
    """A recording that lasts longer than it may."""


async def words_of(pool: Pool, path: Path, most_s: float) -> tuple[list[Word], float]:
    """The words of a recording with their times, and how long it lasts.

    Raises:
        TooLong: for one of more than `most_s` seconds.
        DataFault: for one that cannot be read.
        UserFault, WorkError: as the pool.
    """
    with open_audio(path) as recording:
        if recording.duration_s > most_s:
            raise TooLong(f"lasts {recording.duration_s:.0f} s; {most_s:g} s are heard here")
        if recording.duration_s <= LONGEST_S:
            samples = await asyncio.to_thread(recording.whole)
            return await _words(pool, samples, 0.0), recording.duration_s
        segments = iter(speech_segments(recording.blocks))
        words: list[Word] = []
        while some := await asyncio.to_thread(_some, segments):
            heard = await asyncio.gather(*(_words(pool, s.samples, s.start_s) for s in some))
            words += [word for each in heard for word in each]
        return words, recording.duration_s


def _some(segments: Iterator[Segment]) -> list[Segment]:
    return [segment for _, segment in zip(range(_AT_ONCE), segments, strict=False)]


async def _words(pool: Pool, samples: np.ndarray, start_s: float) -> list[Word]:
    bundle, length_s = pool.bundle, len(samples) / SAMPLE_RATE_HZ
    given = with_silent_end(samples) if bundle.is_live else samples
    ids = await pool.hear("utterances", packed(given.astype(np.float32)), length_s)
    return timed_words(ids, bundle.symbols, length_s, start_s, is_live=bundle.is_live)


class LiveStream:
    """One speaker, heard by a pool as he speaks."""

    def __init__(self, pool: Pool) -> None:
        assert pool.windowing is not None
        self._pool = pool
        windows = Windows(pool.windowing.window, pool.windowing.shift, (), ())
        self._listener = Listener(windows, _unused, pool.bundle.symbols)
        self._state: dict[str, str] = {}  # as the processes pack it
        self.chunk_s: list[float] = []  # that chunks took since somebody looked

    async def accept(self, samples: np.ndarray) -> bool:
        """Hear what was said next, float32 [n]; whether there is more text now."""
        self._listener.accept(samples)
        return await self._hear()

    async def finish(self) -> None:
        """Hear to the end."""
        self._listener.finish()
        await self._hear()

    async def _hear(self) -> bool:
        has_more = False
        while (part := self._listener.next_part()) is not None:
            start_s = time.monotonic()
            content = {"samples": packed(part.samples), "before": part.before, "state": self._state}
            length_s = len(part.samples) / SAMPLE_RATE_HZ
            heard = await self._pool.hear("windows", content, length_s)
            self._state = heard["state"]
            has_more |= bool(self._listener.take_ids(heard["ids"], ()))
            self.chunk_s.append(time.monotonic() - start_s)
        return has_more

    @property
    def text(self) -> str:
        return self._listener.text

    @property
    def heard_s(self) -> float:
        """How much of the speech the text is of."""
        return self._listener.heard_s


def _unused(_samples: np.ndarray) -> np.ndarray:
    raise AssertionError("features are computed where the model runs")
