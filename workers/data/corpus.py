"""A prepared corpus, mapped into memory; read without torch."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np

from workers.data.features import N_MELS
from workers.data.text import normalise
from workers.data.utterances import Utterance, utterances_of


class Corpus:
    """A prepared corpus; features stay in a memory map shared by all processes.

    `mean` and `inv_std` are float32 [80], of the training features.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.digest: str = self._index["digest"]
        self.symbols: tuple[str, ...] = tuple(self._index["symbols"])
        self.mean = np.array(self._index["mean"], np.float32)
        self.inv_std = np.array(self._index["inv_std"], np.float32)
        self.n_augmentations: int = self._index["views"]["train"]

    def normalise(self, text: str) -> str:
        """A text as the transcripts of this corpus were normalised."""
        return normalise(text, **self._index["text"])

    @cached_property
    def features(self) -> np.ndarray:
        """float32 [all frames, 80]."""
        path = self.folder / "features.f32"
        return np.memmap(path, np.float32, "r").reshape(-1, N_MELS)

    @cached_property
    def train(self) -> list[Utterance]:
        return utterances_of(self._index["train"])

    @cached_property
    def dev(self) -> list[Utterance]:
        return utterances_of(self._index["dev"])

    def frames(self, utterance: Utterance, augmentation: int = 0) -> np.ndarray:
        """float32 [n_frames, 80] of one utterance."""
        start, count = utterance.at[augmentation]
        return self.features[start : start + count]


def spread(utterances: list[Utterance], count: int) -> list[Utterance]:
    """So many utterances, evenly over a list."""
    places = np.linspace(0, len(utterances) - 1, min(count, len(utterances))).round().astype(int)
    return [utterances[i] for i in places]
