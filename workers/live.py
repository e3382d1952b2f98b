"""One speaker heard live: samples go in as they come, text grows. Known on a device: no torch.

Who runs the model is somebody else (alone, or many streams at once): windows are taken from here,
and what the model made of them is given back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from workers.backends.windows import TAIL_FRAMES, Windows
from workers.data.features import FRAMES_PER_SECOND, SAMPLE_RATE_HZ, n_frames_of
from workers.data.text import BLANK_ID, decode

_SHIFT = SAMPLE_RATE_HZ // FRAMES_PER_SECOND  # samples from one frame to the next
_REACH = 280  # samples from where a frame begins to where its window ends
_MARGIN = 2  # frames beside those wanted, whose windows would lie over an edge

Fbank = Callable[[np.ndarray], np.ndarray]


class Said(NamedTuple):
    """A symbol and the time in the stream at which the frame that wrote it ends."""

    symbol: int
    end_s: float


class Part(NamedTuple):
    """Samples float32 [n] that a window is computed of, and how many of their frames go before."""

    samples: np.ndarray
    before: int


def window_of(part: Part, window: int, fbank: Fbank) -> np.ndarray:
    """The window float32 [W, mels] of these samples."""
    return np.ascontiguousarray(fbank(part.samples)[part.before :][:window])


class Listener:
    """What one stream has heard and said so far: of its audio the last second, of its text all."""

    def __init__(self, windows: Windows, fbank: Fbank, symbols: Sequence[str]) -> None:
        self._windows, self._fbank, self._symbols = windows, fbank, symbols
        self.state = windows.first
        self._samples = np.zeros(0, np.float32)
        self._begin = 0  # the sample of the stream that `_samples` begins with, at a frame
        self._n_heard = 0  # samples of the stream so far
        self._next = 0  # the frame at which the next window begins
        self._last_window: int | None = None  # the frame at which the last begins, once known
        self._frames_said = 0
        self._last_id = BLANK_ID
        self._ids: list[int] = []  # repetitions left out

    def accept(self, samples: np.ndarray) -> None:
        """What was said next, float32 [n] in [-1, 1] at 16 kHz."""
        self._samples = np.concatenate([self._samples, samples.astype(np.float32, copy=False)])
        self._n_heard += len(samples)

    def finish(self) -> None:
        """Nothing follows: silence is heard until all that was said can be written."""
        if self._last_window is not None:
            return
        n_frames, shift = n_frames_of(self._n_heard), self._windows.shift
        n_windows = -(-(n_frames + TAIL_FRAMES) // shift)
        self._last_window = (n_windows - 1) * shift
        wanted = (self._last_window + self._windows.window) * _SHIFT + _REACH
        self.accept(np.zeros(max(0, wanted - self._n_heard), np.float32))

    @property
    def is_done(self) -> bool:
        """Whether all was heard that will be."""
        return self._last_window is not None and self._next > self._last_window

    def next_part(self) -> Part | None:
        """The samples of the next window; None while too little was heard."""
        end = self._next + self._windows.window
        if self.is_done or self._n_heard < (end - 1) * _SHIFT + _REACH:
            return None
        first = max(0, self._next - _MARGIN)
        begin, until = first * _SHIFT - self._begin, (end + _MARGIN) * _SHIFT - self._begin
        return Part(self._samples[begin:until], self._next - first)

    def next_window(self) -> np.ndarray | None:
        """The next window float32 [W, mels]; None while too little was heard."""
        part = self.next_part()
        return None if part is None else window_of(part, self._windows.window, self._fbank)

    def take(self, log_probs: np.ndarray, state: tuple[np.ndarray, ...]) -> list[Said]:
        """What the model made of the next window, float32 [T', V], and the stream's state after
        it; what is new in the text."""
        return self.take_ids(log_probs.argmax(-1).tolist(), state)

    def take_ids(self, ids: Sequence[int], state: tuple[np.ndarray, ...]) -> list[Said]:
        """The same of the likeliest symbols."""
        self.state = state
        frame_s = self._windows.shift / len(ids) / FRAMES_PER_SECOND
        said = []
        for i, symbol in enumerate(ids):
            if symbol != self._last_id:
                self._ids.append(symbol)
                if symbol != BLANK_ID:
                    said.append(Said(symbol, (self._frames_said + i + 1) * frame_s))
            self._last_id = symbol
        self._frames_said += len(ids)
        self._next += self._windows.shift
        keep_from = max(0, self._next - _MARGIN) * _SHIFT
        self._samples = self._samples[keep_from - self._begin :]
        self._begin = keep_from
        return said

    @property
    def heard_s(self) -> float:
        """Seconds of the stream that were written."""
        return self._next / FRAMES_PER_SECOND

    @property
    def text(self) -> str:
        """What was said so far."""
        return decode(self._ids, self._symbols)
