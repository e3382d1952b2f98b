"""Losses: CTC, and a student's agreement with its teacher.

The teacher's part is computed once over the training set and read from a cache:

    frames.f16       float16 [frames, V]   log-probabilities at the student's frame rate
    hidden.f16       float16 [frames, C]   what the teacher's head reads (if it has one)
    index.json       shapes, where each utterance lies; or, when the teacher's tokens are not the
                     student's, the token ids of its text of every training utterance
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.recipe import Distil, Training
from workers.data.batches import Batch
from workers.students.base import Output


def ctc_per_frame(
    logits: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor
) -> Tensor:
    """CTC (Graves et al., 2006) summed over the batch, divided by its frames."""
    log_probs = F.log_softmax(logits, -1).transpose(0, 1)
    total = F.ctc_loss(
        log_probs, targets, lengths, target_lengths, reduction="sum", zero_infinity=True
    )
    return total / lengths.sum()


def kl_per_frame(
    logits: Tensor, lengths: Tensor, teacher_log_probs: Tensor, temperature: float
) -> Tensor:
    """T^2 * KL(teacher || student) at temperature T, averaged over unpadded frames.

    Args:
        logits: float32 [N, T', V] of the student.
        teacher_log_probs: float32 [N, T', V], untempered.
    """
    teacher = F.log_softmax(teacher_log_probs / temperature, -1)
    student = F.log_softmax(logits / temperature, -1)
    frames = torch.arange(logits.shape[1])[None, :] < lengths[:, None]
    divergence = (teacher.exp() * (teacher - student)).sum(-1)
    return (divergence * frames).sum() / lengths.sum() * temperature**2


def disagreement(logits: Tensor, lengths: Tensor) -> Tensor:
    """Symmetric KL a frame between the two halves of a batch, each taught by the other's fixed
    output (CR-CTC, arXiv 2410.05101)."""
    first, second = F.log_softmax(logits, -1).chunk(2)
    n_rows = len(first)
    frames = torch.arange(logits.shape[1])[None, :] < lengths[:n_rows, None]
    total = torch.zeros(())
    for taught, teacher in ((first, second.detach()), (second, first.detach())):
        total = total + ((teacher.exp() * (teacher - taught)).sum(-1) * frames).sum()
    return total / lengths.sum()


class TeacherCache:
    """What the teacher said of the training set."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: dict[str, Any] = json.loads((folder / "index.json").read_text())
        self.kind: str = self._index["kind"]  # frames or transcripts
        self.hidden_size: int | None = self._index.get("hidden_size")
        self.n_taught: int | None = self._index.get("n_taught")  # transcripts near the truth

    @cached_property
    def _frames(self) -> np.ndarray:
        size = self._index["vocabulary"]
        return np.memmap(self._folder / "frames.f16", np.float16, "r").reshape(-1, size)

    @cached_property
    def _hidden(self) -> np.ndarray:
        return np.memmap(self._folder / "hidden.f16", np.float16, "r").reshape(
            -1, self.hidden_size or 1
        )

    @cached_property
    def _at(self) -> list[list[list[int]]]:
        at: list[list[list[int]]] = self._index["at"]
        return at

    @cached_property
    def targets(self) -> list[list[int]]:
        """Token ids of the teacher's text of each training utterance, where it is used."""
        ids: list[list[int]] = self._index["targets"]
        return ids

    def log_probs(self, items: tuple[tuple[int, int], ...]) -> Tensor:
        """float32 [N, T', V] of these (utterance, view), padded with 0."""
        return self._rows(self._frames, items)

    def hidden(self, items: tuple[tuple[int, int], ...]) -> Tensor:
        """float32 [N, T', C]."""
        return self._rows(self._hidden, items)

    def _rows(self, table: np.ndarray, items: tuple[tuple[int, int], ...]) -> Tensor:
        spans = [self._at[i][view] for i, view in items]
        out = np.zeros((len(items), max(n for _, n in spans), table.shape[1]), np.float32)
        for row, (start, count) in enumerate(spans):
            out[row, :count] = table[start : start + count]
        return torch.from_numpy(out)


class HiddenMatch(nn.Module):
    """Projects a student's last hidden layer onto the teacher's and compares them.

    L1 plus cosine distance, as in DistilHuBERT (arXiv 2110.01900).
    """

    def __init__(self, n_student: int, n_teacher: int) -> None:
        super().__init__()
        self.project = nn.Linear(n_student, n_teacher)

    def forward(self, hidden: Tensor, lengths: Tensor, teacher: Tensor) -> Tensor:
        mine = self.project(hidden.float())
        frames = (torch.arange(hidden.shape[1])[None, :] < lengths[:, None]).float()
        distance = (mine - teacher).abs().mean(-1) + 1 - F.cosine_similarity(mine, teacher, dim=-1)
        return (distance * frames).sum() / lengths.sum()


HIDDEN_SHARE = 0.4  # hidden layers guide the first part of training only (TutorNet's order)


@dataclass
class Objective:
    """The loss of one training run."""

    training: Training
    distil: Distil
    teacher: TeacherCache | None
    hidden_match: HiddenMatch | None

    def __call__(self, output: Output, batch: Batch, progress: float) -> tuple[Tensor, float]:
        """The loss to minimise and the CTC part of it for the log.

        `progress` is the share of training done, 0 to 1.
        """
        targets = (batch.targets, batch.target_lengths)
        ctc = ctc_per_frame(output.logits, output.lengths, *targets)
        loss = ctc
        share = self.training.intermediate_ctc
        if share and output.intermediate is not None:
            halfway = ctc_per_frame(output.intermediate, output.lengths, *targets)
            loss = (1 - share) * loss + share * halfway
        if self.training.consistency:
            loss = loss + self.training.consistency * disagreement(output.logits, output.lengths)
        if self.teacher is not None:
            loss = (1 - self.distil.weight) * loss + self.distil.weight * self._taught(
                output, batch
            )
            loss = loss + self._matched(output, batch, progress)
        return loss, float(ctc.detach())

    def _taught(self, output: Output, batch: Batch) -> Tensor:
        assert self.teacher is not None
        if self.teacher.kind == "frames":
            log_probs = self.teacher.log_probs(batch.items)
            return kl_per_frame(output.logits, output.lengths, log_probs, self.distil.temperature)
        ids = [self.teacher.targets[i] for i, _ in batch.items]
        targets = torch.tensor([i for row in ids for i in row])
        lengths = torch.tensor([len(row) for row in ids])
        return ctc_per_frame(output.logits, output.lengths, targets, lengths)

    def _matched(self, output: Output, batch: Batch, progress: float) -> Tensor | float:
        strength = self.distil.hidden_weight * max(0.0, 1 - progress / HIDDEN_SHARE)
        if self.hidden_match is None or strength == 0.0:
            return 0.0
        assert self.teacher is not None
        teacher = self.teacher.hidden(batch.items)
        return strength * self.hidden_match(output.hidden, output.lengths, teacher)
