"""A teacher's log-probabilities over the training set, as files: whole, or the likeliest of each
frame.

    frames.f16               float16 [frames, V]    whole
    top.u16, top.f16         uint16 and float16 [frames, k]   symbols and their log-probabilities

What is left of a frame's probability is shared out equally to all other symbols, so that it stays a
distribution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np

WHOLE, TOP_SYMBOLS, TOP_VALUES = "frames.f16", "top.u16", "top.f16"
_LEAST_REST = 1e-8


class LogProbs:
    """Read from a folder, mapped into memory.

    Args:
        size: V, of the vocabulary.
        top_k: how many of each frame were kept; None for all.
    """

    def __init__(self, folder: Path, size: int, top_k: int | None) -> None:
        self._size, self._top_k = size, top_k
        if top_k is None:
            self._whole = np.memmap(folder / WHOLE, np.float16, "r").reshape(-1, size)
        else:
            self._symbols = np.memmap(folder / TOP_SYMBOLS, np.uint16, "r").reshape(-1, top_k)
            self._values = np.memmap(folder / TOP_VALUES, np.float16, "r").reshape(-1, top_k)

    def rows(self, start: int, count: int) -> np.ndarray:
        """float32 [count, V]."""
        some = slice(start, start + count)
        if self._top_k is None:
            return self._whole[some].astype(np.float32)
        values = self._values[some].astype(np.float32)
        rest = np.maximum(1 - np.exp(values).sum(1, keepdims=True), _LEAST_REST)
        n_others = max(1, self._size - self._top_k)
        rows = np.repeat(np.log(rest / n_others).astype(np.float32), self._size, axis=1)
        np.put_along_axis(rows, self._symbols[some].astype(np.int64), values, axis=1)
        return rows


class Writer:
    """Appends rows to the files of a folder."""

    def __init__(self, files: Sequence[IO[bytes]], top_k: int | None) -> None:
        self._files, self._top_k = files, top_k

    def write(self, log_probs: np.ndarray) -> None:
        """Rows [n, V]."""
        if self._top_k is None:
            self._files[0].write(log_probs.astype(np.float16).tobytes())
            return
        likeliest = np.argpartition(log_probs, -self._top_k, axis=1)[:, -self._top_k :]
        self._files[0].write(likeliest.astype(np.uint16).tobytes())
        values = np.take_along_axis(log_probs, likeliest, axis=1)
        self._files[1].write(values.astype(np.float16).tobytes())

    def flush(self) -> None:
        for file in self._files:
            file.flush()


def rows_there(folder: Path, size: int, top_k: int | None) -> int:
    """How many rows the files of a folder hold, each of them."""
    if top_k is None:
        return size_of(folder / WHOLE) // (2 * size)
    return min(size_of(folder / name) for name in (TOP_SYMBOLS, TOP_VALUES)) // (2 * top_k)


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


@contextmanager
def writing(folder: Path, size: int, top_k: int | None, n_rows: int = 0) -> Iterator[Writer]:
    """Write after so many rows that are there already; what lies beyond them is cut off."""
    names = (WHOLE,) if top_k is None else (TOP_SYMBOLS, TOP_VALUES)
    width = size if top_k is None else top_k
    with ExitStack() as stack:
        files = [stack.enter_context((folder / name).open("ab")) for name in names]
        for file in files:
            file.truncate(n_rows * width * 2)
            file.seek(0, 2)
        yield Writer(files, top_k)
