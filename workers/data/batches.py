"""Batches for training, bucketed by length, from a prepared corpus mapped into memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workers.data.entries import Entry, entries_of
from workers.data.features import FRAMES_PER_SECOND, N_MELS
from workers.data.text import normalise


class Corpus:
    """A prepared corpus; features stay in a memory map shared by all processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index: dict[str, Any] = json.loads((folder / "index.json").read_text())
        self.digest: str = self._index["digest"]
        self.symbols: tuple[str, ...] = tuple(self._index["symbols"])
        self.mean = torch.tensor(self._index["mean"], dtype=torch.float32)
        self.inv_std = torch.tensor(self._index["inv_std"], dtype=torch.float32)
        self.n_views: int = self._index["views"]["train"]

    def normalise(self, text: str) -> str:
        """A text as the transcripts of this corpus were normalised."""
        return normalise(text, **self._index["text"])

    @cached_property
    def features(self) -> np.ndarray:
        """float32 [all frames, 80]."""
        path = self.folder / "features.f32"
        return np.memmap(path, np.float32, "r").reshape(-1, N_MELS)

    @cached_property
    def train(self) -> list[Entry]:
        return self._entries("train")

    @cached_property
    def dev(self) -> list[Entry]:
        return self._entries("dev")

    def _entries(self, split: str) -> list[Entry]:
        return entries_of(self._index[split])

    def frames(self, entry: Entry, view: int = 0) -> np.ndarray:
        """float32 [n_frames, 80] of one utterance."""
        start, count = entry.at[view]
        return self.features[start : start + count]


@dataclass(frozen=True)
class Batch:
    """Padded utterances. `items` are (index in the split, view) of each row."""

    features: Tensor  # float32 [N, T, 80]
    lengths: Tensor  # int64 [N]
    targets: Tensor  # int64 [sum of target_lengths]
    target_lengths: Tensor  # int64 [N]
    items: tuple[tuple[int, int], ...]

    def twice(self) -> Batch:
        """Every row again below the rows."""
        return Batch(
            features=torch.cat([self.features, self.features]),
            lengths=torch.cat([self.lengths, self.lengths]),
            targets=torch.cat([self.targets, self.targets]),
            target_lengths=torch.cat([self.target_lengths, self.target_lengths]),
            items=self.items * 2,
        )


def epoch_plan(
    corpus: Corpus, batch_s: float, rng: np.random.Generator
) -> list[list[tuple[int, int]]]:
    """One epoch: each utterance once, in one of its views, in batches of like length.

    A batch holds at most `batch_s` seconds, padding included.
    """
    views = rng.integers(0, corpus.n_views, len(corpus.train))
    lengths = np.array([e.at[v][1] for e, v in zip(corpus.train, views, strict=True)])
    order = np.argsort(lengths * rng.uniform(0.9, 1.1, len(lengths)))
    limit = batch_s * FRAMES_PER_SECOND
    plan: list[list[tuple[int, int]]] = [[]]
    longest = 0
    for i in order:
        longest = max(longest, int(lengths[i]))
        if plan[-1] and longest * (len(plan[-1]) + 1) > limit:
            plan.append([])
            longest = int(lengths[i])
        plan[-1].append((int(i), int(views[i])))
    rng.shuffle(plan)  # type: ignore[arg-type]
    return plan


def load_batch(corpus: Corpus, items: list[tuple[int, int]]) -> Batch:
    entries = [corpus.train[i] for i, _ in items]
    lengths = [e.at[v][1] for e, (_, v) in zip(entries, items, strict=True)]
    features = np.zeros((len(items), max(lengths), N_MELS), np.float32)
    for row, (entry, (_, view)) in enumerate(zip(entries, items, strict=True)):
        features[row, : lengths[row]] = corpus.frames(entry, view)
    return Batch(
        features=torch.from_numpy(features),
        lengths=torch.tensor(lengths),
        targets=torch.tensor([i for e in entries for i in e.ids]),
        target_lengths=torch.tensor([len(e.ids) for e in entries]),
        items=tuple(items),
    )


def spec_augment(
    features: Tensor, lengths: Tensor, strength: float, rng: np.random.Generator
) -> Tensor:
    """Frequency and time masks on normalised features (SpecAugment, arXiv 1904.08779).

    Two frequency masks of up to 20 bins and three time masks of up to 5 % of the utterance at
    strength 1; all rows of the batch are masked at once. Masked values become 0, the mean.
    """
    n, t, d = features.shape
    keep = torch.ones(n, t, d, dtype=torch.bool)
    n_frames = lengths.numpy()
    for _ in range(2):
        width = rng.integers(0, max(1, round(20 * strength)) + 1, n)
        keep &= ~_spans(d, width, np.full(n, d), rng)[:, None, :]
    for _ in range(3):
        width = (rng.random(n) * 0.05 * strength * n_frames).astype(np.int64)
        keep &= ~_spans(t, width, n_frames, rng)[:, :, None]
    return features * keep


def _spans(size: int, width: np.ndarray, limit: np.ndarray, rng: np.random.Generator) -> Tensor:
    """bool [N, size]: one span of the given width below `limit` in each row."""
    start = (rng.random(len(width)) * (limit - width + 1)).astype(np.int64)
    positions = torch.arange(size)
    low, high = torch.from_numpy(start), torch.from_numpy(start + width)
    return (positions >= low[:, None]) & (positions < high[:, None])
