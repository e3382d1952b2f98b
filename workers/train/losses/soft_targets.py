"""The teacher's output over the training set, read from where `workers.teachers.targets` put it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workers.teachers.log_probs import LogProbs
from workers.teachers.targets import targets_index

Items = tuple[tuple[int, int], ...]  # (utterance, augmentation) of each row of a batch


class SoftTargets:
    """What the teacher makes of the training set; `kind` is frames or transcripts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = targets_index(folder)
        self.kind = self._index["kind"]
        self.hidden_size = self._index.get("hidden_size")
        self.halfway_size = self._index.get("halfway_size", 0)
        self.n_pseudo_labels = self._index.get("n_pseudo_labels")

    @cached_property
    def _frames(self) -> LogProbs:
        return LogProbs(self._folder, self._index["vocabulary"], self._index.get("top_k"))

    @cached_property
    def _hidden(self) -> np.ndarray:
        return np.memmap(self._folder / "hidden.f16", np.float16, "r").reshape(
            -1, self.hidden_size or 1
        )

    @cached_property
    def pseudo_labels(self) -> dict[int, list[int]]:
        """Token ids of the teacher's transcripts of unlabelled audio that are learnt from, by the
        number of the utterance among all that are spoken."""
        found = self._index.get("pseudo_labels", {})
        return {int(number): ids for number, ids in found.items()}

    @property
    def targets(self) -> list[list[int]]:
        """Token ids of the teacher's transcript of each training utterance, where it is used."""
        return self._index["targets"]

    def log_probs(self, items: Items) -> Tensor:
        """float32 [N, T', V] of these rows, padded with 0."""
        return self._rows(self._index["vocabulary"], self._frames.rows, items)

    def transcript(self, number: int) -> list[int]:
        """Token ids of the teacher's transcript of an utterance, or what stands in for it."""
        targets = self._index["targets"]
        return targets[number] if number < len(targets) else self.pseudo_labels[number]

    def hidden(self, items: Items) -> Tensor:
        """float32 [N, T', C]: what is known of half the depth first, then of the last layer."""
        table = self._hidden
        return self._rows(table.shape[1], lambda start, n: table[start : start + n], items)

    def _rows(self, width: int, rows: Callable[[int, int], np.ndarray], items: Items) -> Tensor:
        spans = [self._index["at"][i][augmentation] for i, augmentation in items]
        out = np.zeros((len(items), max(n for _, n in spans), width), np.float32)
        for row, (start, count) in enumerate(spans):
            out[row, :count] = rows(start, count)
        return torch.from_numpy(out)
