"""Batches for training, bucketed by length, from a prepared corpus mapped into memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workers.data.corpus import Corpus
from workers.data.features import FRAMES_PER_SECOND

_WIDEST_BAND = 0.25  # of the mel bins: 20 of 80


@dataclass(frozen=True)
class Batch:
    """Padded utterances. `items` are (index in the split, augmentation) of each row."""

    features: Tensor  # float32 [N, T, mels]
    lengths: Tensor  # int64 [N]
    targets: Tensor  # int64 [sum of target_lengths]
    target_lengths: Tensor  # int64 [N]
    items: tuple[tuple[int, int], ...]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """In memory that a GPU copies from on its own."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            features=change(self.features),
            lengths=change(self.lengths),
            targets=change(self.targets),
            target_lengths=change(self.target_lengths),
            items=self.items,
        )

    def parts(self, n_parts: int) -> list[Batch]:
        """Its rows in so many parts, as equal as can be; padding that a part needs not is cut."""
        n_rows = len(self.items)
        edges = [n_rows * i // n_parts for i in range(n_parts + 1)]
        ends = [0, *np.cumsum(self.target_lengths.tolist()).tolist()]
        made = []
        for low, high in itertools.pairwise(edges):
            if low == high:
                continue
            lengths = self.lengths[low:high]
            made.append(
                Batch(
                    features=self.features[low:high, : int(lengths.max())],
                    lengths=lengths,
                    targets=self.targets[ends[low] : ends[high]],
                    target_lengths=self.target_lengths[low:high],
                    items=self.items[low:high],
                )
            )
        return made

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
    corpus: Corpus, batch_s: float, rng: np.random.Generator, more: Sequence[int] = ()
) -> list[list[tuple[int, int]]]:
    """One epoch: each utterance once, or as often as its list is weighed, in one of its
    augmentations, in batches of like length.

    A batch holds at most `batch_s` seconds, padding included.

    Args:
        more: numbers of unlabelled utterances that are learnt from, among all that are spoken.
    """
    numbers = [*_drawn(corpus, rng), *more]
    chosen = rng.integers(0, corpus.n_augmentations, len(numbers))
    lengths = corpus.n_frames[numbers, chosen]
    order = np.argsort(lengths * rng.uniform(0.9, 1.1, len(lengths)))
    limit = batch_s * FRAMES_PER_SECOND
    plan: list[list[tuple[int, int]]] = [[]]
    longest = 0
    for i in order:
        longest = max(longest, int(lengths[i]))
        if plan[-1] and longest * (len(plan[-1]) + 1) > limit:
            plan.append([])
            longest = int(lengths[i])
        plan[-1].append((numbers[i], int(chosen[i])))
    order = rng.permutation(len(plan))
    return [plan[i] for i in order]


def _drawn(corpus: Corpus, rng: np.random.Generator) -> list[int]:
    """Numbers of the utterances of train that an epoch holds; a weight of 1.5 is one or two."""
    if corpus.weights is None:
        return list(range(len(corpus.train)))
    whole = np.floor(corpus.weights)
    times = whole + (rng.random(len(whole)) < corpus.weights - whole)
    drawn: list[int] = np.repeat(np.arange(len(whole)), times.astype(int)).tolist()
    return drawn


def load_batch(
    corpus: Corpus, items: list[tuple[int, int]], pseudo: Mapping[int, Sequence[int]] | None = None
) -> Batch:
    """Features and targets of these (utterance, augmentation).

    Args:
        pseudo: token ids of those that have no transcript, by number.
    """
    utterances = [corpus.spoken[i] for i, _ in items]
    ids = [(pseudo or {}).get(i, u.ids) for (i, _), u in zip(items, utterances, strict=True)]
    lengths = [u.at[a][1] for u, (_, a) in zip(utterances, items, strict=True)]
    features = np.zeros((len(items), max(lengths), corpus.front_end.mels), np.float32)
    for row, (utterance, (_, augmentation)) in enumerate(zip(utterances, items, strict=True)):
        features[row, : lengths[row]] = corpus.frames(utterance, augmentation)
    return Batch(
        features=torch.from_numpy(features),
        lengths=torch.tensor(lengths),
        targets=torch.tensor([i for each in ids for i in each]),
        target_lengths=torch.tensor([len(each) for each in ids]),
        items=tuple(items),
    )


def spec_augment(
    features: Tensor, lengths: Tensor, strength: float, rng: np.random.Generator
) -> Tensor:
    """Frequency and time masks on normalised features (SpecAugment, arXiv 1904.08779).

    Two frequency masks of up to a quarter of the bins and three time masks of up to 5 % of the
    utterance at strength 1; all rows of the batch are masked at once. Masked values become 0, the
    mean.
    """
    n, t, d = features.shape
    keep = torch.ones(n, t, d, dtype=torch.bool)
    n_frames = lengths.cpu().numpy()
    for _ in range(2):
        width = rng.integers(0, max(1, round(_WIDEST_BAND * d * strength)) + 1, n)
        keep &= ~_spans(d, width, np.full(n, d), rng)[:, None, :]
    for _ in range(3):
        width = (rng.random(n) * 0.05 * strength * n_frames).astype(np.int64)
        keep &= ~_spans(t, width, n_frames, rng)[:, :, None]
    return features * keep.to(features.device)


def _spans(size: int, width: np.ndarray, limit: np.ndarray, rng: np.random.Generator) -> Tensor:
    """bool [N, size]: one span of the given width below `limit` in each row."""
    start = (rng.random(len(width)) * (limit - width + 1)).astype(np.int64)
    positions = torch.arange(size)
    low, high = torch.from_numpy(start), torch.from_numpy(start + width)
    return (positions >= low[:, None]) & (positions < high[:, None])
