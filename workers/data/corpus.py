"""A prepared corpus, mapped into memory; read without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from spaces.front_end import USUAL, FrontEnd
from workers.data.audio import read_audio
from workers.data.compact_features import CompactFeatures
from workers.data.features import fbank
from workers.data.index import IndexedUtterances, InTurn
from workers.data.sources import at_rate_of
from workers.data.text import normalise
from workers.data.utterances import Utterance, utterances_of

T = TypeVar("T")


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
        weights = self._index.get("weights")
        # how often an epoch holds each utterance of train; None: once
        self.weights = None if weights is None else np.array(weights)
        told = self._index.get("compact")
        self._compact = None if told is None else CompactFeatures(folder, told)

    @property
    def is_compact(self) -> bool:
        """Whether training features are kept in 8 bits of the plain audio."""
        return self._compact is not None

    def normalise(self, text: str) -> str:
        """A text as the transcripts of this corpus were normalised."""
        return normalise(text, **self._index["text"])

    @cached_property
    def features(self) -> np.ndarray:
        """float32 [all frames, mels] of what is kept so."""
        path = self.folder / "features.f32"
        return np.memmap(path, np.float32, "r").reshape(-1, self.front_end.mels)

    @cached_property
    def train(self) -> Sequence[Utterance]:
        return self._split("train")

    @cached_property
    def unlabelled(self) -> Sequence[Utterance]:
        """Speech without transcripts; empty where there is none."""
        return self._split("unlabelled")

    def _split(self, name: str) -> Sequence[Utterance]:
        path = self.folder / f"{name}.arrow"
        if self.is_compact and path.exists():
            return IndexedUtterances(path)
        return utterances_of(self._index.get(name, ()))

    @cached_property
    def spoken(self) -> Sequence[Utterance]:
        """All that may be learnt from: train, then what is unlabelled."""
        return (
            InTurn(self.train, self.unlabelled)
            if self.is_compact
            else [
                *self.train,
                *self.unlabelled,
            ]
        )

    @cached_property
    def n_frames(self) -> np.ndarray:
        """int [spoken, augmentations]: frames of all that may be learnt from."""
        splits = [self.train, self.unlabelled]
        if self.is_compact:
            return np.concatenate([s.frames for s in splits if isinstance(s, IndexedUtterances)])
        return np.array([[n for _, n in u.at] for u in self.spoken])

    @cached_property
    def dev(self) -> list[Utterance]:
        return utterances_of(self._index["dev"])

    def frames(self, utterance: Utterance, augmentation: int = 0) -> np.ndarray:
        """float32 [n_frames, mels] of one utterance."""
        if utterance.is_compact:
            assert self._compact is not None
            return self._compact.of(utterance, augmentation)
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


def spread(utterances: Sequence[T], count: int) -> list[T]:
    """So many utterances, evenly over a list."""
    places = np.linspace(0, len(utterances) - 1, min(count, len(utterances))).round().astype(int)
    return [utterances[i] for i in places]
