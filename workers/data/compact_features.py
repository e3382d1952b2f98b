"""The features of a prepared corpus that are kept in 8 bits, a file for each shard."""

from __future__ import annotations

import os
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from workers.data.compact import as_f32, derived, n_frames_at
from workers.data.features import N_MELS
from workers.data.scan import PLAIN
from workers.data.sources import Augmentation
from workers.data.utterances import Utterance

_MOST_OPEN = 256


class CompactFeatures:
    """Frames by number over all parts of a corpus, as `link_parts` has put them there."""

    def __init__(self, folder: Path, told: Mapping[str, Any]) -> None:
        self._folder = folder
        self._ends = list(accumulate(told["parts"]))
        self._augmentations: list[Augmentation] = [
            (speed, None if noise is None else (noise[0], noise[1]))
            for speed, noise in told["augmentations"]
        ]
        self._open: dict[int, np.ndarray] = {}

    def of(self, utterance: Utterance, augmentation: int) -> np.ndarray:
        """float32 [n_frames, 80] of one copy of an utterance; the same whenever it is asked for."""
        first, n_frames = utterance.at[0]
        part = bisect_right(self._ends, first)
        begin = first - (self._ends[part - 1] if part else 0)
        plain = as_f32(self._part(part)[begin : begin + n_frames])
        if augmentation == 0:
            return plain
        return derived(plain, self._augmentations[augmentation], seed=(first, augmentation))

    def _part(self, number: int) -> np.ndarray:
        """uint8 [frames, 80] of a part, mapped into memory."""
        found = self._open.pop(number, None)
        if found is None:
            if len(self._open) >= _MOST_OPEN:
                del self._open[next(iter(self._open))]  # the one that was asked for longest ago
            path = self._folder / part_name(number)
            found = np.memmap(path, np.uint8, "r").reshape(-1, N_MELS)
        self._open[number] = found
        return found


def part_name(number: int) -> str:
    return f"part-{number:05d}.u8"


def link_parts(shards: Iterable[Path], folder: Path) -> list[int]:
    """Put the features of shards into the folder of a corpus, where the file system allows without
    copying them; gives the frames of each."""
    frames = []
    for number, shard in enumerate(shards):
        source, target = shard / PLAIN, folder / part_name(number)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
        frames.append(target.stat().st_size // N_MELS)
    return frames


def spans(first: int, n_frames: int, augmentations: Sequence[Augmentation]) -> list[list[int]]:
    """`at` of an utterance: all copies are made of the same frames."""
    return [[first, n_frames_at(n_frames, speed)] for speed, _ in augmentations]
