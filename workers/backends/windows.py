"""Models that hear live speech, fed window by window. Known on a device: no torch.

A window is a chunk of frames and what is looked ahead; the next begins a chunk later. The state
that a stream carries goes in with a window and comes out with its log-probabilities; it begins as
zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

SHIFT = "decode_chunk_len"  # in the metadata of a model for live speech: frames of a chunk
TAIL_FRAMES = 40  # of silence that are heard after an utterance, for what is written late
SILENCE = float(np.log(np.finfo(np.float32).eps))  # a log-mel of no sound at all

State = tuple[np.ndarray, ...]
# Windows float32 [N, W, mels] and states: log-probabilities float32 [N, T', V] and states.
Step = Callable[[np.ndarray, State], tuple[np.ndarray, State]]


@dataclass(frozen=True)
class Windows:
    """How a model is fed: frames of a window, frames from one to the next, and its first state,
    of one stream. `batch_axes` say where streams lie in each tensor of the state."""

    window: int
    shift: int
    first: State
    batch_axes: tuple[int, ...]

    def of(self, features: np.ndarray) -> list[np.ndarray]:
        """Windows float32 [W, mels] of a whole utterance and of silence after it."""
        n = -(-(len(features) + TAIL_FRAMES) // self.shift)
        wanted = (n - 1) * self.shift + self.window
        padded = np.full((wanted, features.shape[1]), SILENCE, np.float32)
        padded[: len(features)] = features
        return [padded[i * self.shift : i * self.shift + self.window] for i in range(n)]

    def stacked(self, states: Sequence[State]) -> State:
        """The states of several streams as one."""
        pairs = zip(zip(*states, strict=True), self.batch_axes, strict=True)
        return tuple(np.concatenate(tensors, axis) for tensors, axis in pairs)

    def apart(self, state: State, n: int) -> list[State]:
        """The same again as one a stream."""
        pairs = zip(state, self.batch_axes, strict=True)
        split = [np.split(tensor, n, axis) for tensor, axis in pairs]
        return list(zip(*split, strict=True))


@dataclass
class Stream:
    """One speaker heard by a model that hears live speech."""

    windows: Windows
    step: Step
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.windows.first

    def hear(self, window: np.ndarray) -> np.ndarray:
        """Log-probabilities float32 [T', V] of the next chunk."""
        log_probs, self.state = self.step(window[None], self.state)
        return log_probs[0]


def whole(windows: Windows, step: Step, features: np.ndarray) -> np.ndarray:
    """Log-probabilities float32 [T', V] of a whole utterance, heard as live speech is."""
    stream = Stream(windows, step)
    return np.concatenate([stream.hear(window) for window in windows.of(features)])
