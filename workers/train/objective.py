"""The loss of one training run: CTC and what stands beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spaces.recipe import Distil, Training
from spaces.streaming import FRAME_MS
from workers.data.batches import Batch
from workers.students.base import Output
from workers.train.losses.cr_ctc import cr_ctc_loss
from workers.train.losses.ctc import ctc_per_frame
from workers.train.losses.distillation import delayed, kl_per_frame, with_silent_end
from workers.train.losses.extra import Term
from workers.train.losses.feature_alignment import ALIGNED_SHARE, FeatureAlignmentLoss
from workers.train.losses.soft_targets import SoftTargets


@dataclass
class TrainingLoss:
    """Weighs the losses as a recipe says."""

    training: Training
    distil: Distil
    soft_targets: SoftTargets | None
    alignment: FeatureAlignmentLoss | None
    extra: tuple[tuple[float, Term], ...] = ()

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
            loss = loss + self.training.consistency * cr_ctc_loss(output.logits, output.lengths)
        if self.soft_targets is not None:
            distilled = self._distilled(output.logits, output.lengths, batch, self.soft_targets)
            if self.distil.halfway and output.intermediate is not None:
                logits, part = output.intermediate, self.distil.halfway
                there = self._distilled(logits, output.lengths, batch, self.soft_targets)
                distilled = (1 - part) * distilled + part * there
            loss = (1 - self.distil.weight) * loss + self.distil.weight * distilled
            loss = loss + self._aligned(output, batch, progress, self.soft_targets)
        if output.own_loss is not None:
            loss = loss + output.own_loss
        for weight, term in self.extra:
            loss = loss + weight * term(output, batch)
        return loss, float(ctc.detach())

    def _distilled(
        self, logits: Tensor, lengths: Tensor, batch: Batch, soft_targets: SoftTargets
    ) -> Tensor:
        if soft_targets.kind == "frames":
            log_probs, distil = soft_targets.log_probs(batch.items).to(logits.device), self.distil
            log_probs = delayed(log_probs, distil.delay_ms // FRAME_MS)
            if logits.shape[1] != log_probs.shape[1]:
                log_probs = with_silent_end(log_probs, logits.shape[1])
            return kl_per_frame(logits, lengths, log_probs, distil.temperature, distil.frames)
        ids = [soft_targets.transcript(i) for i, _ in batch.items]
        targets = torch.tensor([i for row in ids for i in row], device=logits.device)
        n_targets = torch.tensor([len(row) for row in ids], device=logits.device)
        return ctc_per_frame(logits, lengths, targets, n_targets)

    def _aligned(
        self, output: Output, batch: Batch, progress: float, soft_targets: SoftTargets
    ) -> Tensor | float:
        strength = self.distil.hidden_weight * max(0.0, 1 - progress / ALIGNED_SHARE)
        if self.alignment is None or strength == 0.0:
            return 0.0
        hidden = soft_targets.hidden(batch.items).to(output.hidden.device)
        return strength * self.alignment(output.hidden, output.lengths, hidden, output.halfway)
