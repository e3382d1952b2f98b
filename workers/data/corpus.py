"""A prepared corpus, mapped into memory; read without torch."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spaces.front_end import USUAL, FrontEnd
from workers.data.audio import read_audio
from workers.data.features import fbank
from workers.data.sources import at_rate_of
from workers.data.text import normalise
from workers.data.utterances import Utterance, utterances_of


class Corpus:
    """A prepared corpus; features stay in a memory map shared by all processes.

    `mean` and `inv_std` are float32 [mels], of the training features.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.digest: str = self._index["digest"]
        self.symbols: tuple[str, ...] = tuple(self._index["symbols"])
        self.mean = np.array(self._index["mean"], np.float32)
        self.inv_std = np.array(self._index["inv_std"], np.float32)
        self.front_end = _front_end(self._index.get("front_end"))
        self.n_augmentations: int = self._index["views"]["train"]

    def normalise(self, text: str) -> str:
        """A text as the transcripts of this corpus were normalised."""
        return normalise(text, **self._index["text"])

    @cached_property
    def features(self) -> np.ndarray:
        """float32 [all frames, mels]."""
        path = self.folder / "features.f32"
        return np.memmap(path, np.float32, "r").reshape(-1, self.front_end.mels)

    @cached_property
    def train(self) -> list[Utterance]:
        return utterances_of(self._index["train"])

    @cached_property
    def unlabelled(self) -> list[Utterance]:
        """Speech without transcripts; empty where there is none."""
        return utterances_of(self._index.get("unlabelled", ()))

    @cached_property
    def spoken(self) -> list[Utterance]:
        """All that may be learnt from: train, then what is unlabelled."""
        return [*self.train, *self.unlabelled]

    @cached_property
    def dev(self) -> list[Utterance]:
        return utterances_of(self._index["dev"])

    def frames(self, utterance: Utterance, augmentation: int = 0) -> np.ndarray:
        """float32 [n_frames, mels] of one utterance."""
        start, count = utterance.at[augmentation]
        return self.features[start : start + count]

    def samples(self, utterance: Utterance) -> np.ndarray:
        """float32 [n_samples] of one utterance, at the rate of the front end."""
        samples = read_audio(utterance.audio, utterance.offset_s, utterance.duration_s)
        return at_rate_of(self.front_end, samples)

    def features_of(self, samples: np.ndarray) -> np.ndarray:
        """float32 [n_frames, mels] of such samples."""
        return fbank(samples, self.front_end)


def _front_end(told: dict[str, Any] | None) -> FrontEnd:
    return USUAL if told is None else FrontEnd(**told)


def spread(utterances: list[Utterance], count: int) -> list[Utterance]:
    """So many utterances, evenly over a list."""
    places = np.linspace(0, len(utterances) - 1, min(count, len(utterances))).round().astype(int)
    return [utterances[i] for i in places]
