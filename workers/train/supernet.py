"""Trains a supernet by sandwich steps: its largest student learns from the data, its smallest and
a random one from the data and from the largest (Yu and Huang, arXiv 1903.05134)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from spaces.recipe import Distil, Training
from workers.data.batches import Batch
from workers.data.corpus import Corpus
from workers.host_lock import HostLock
from workers.students.supernet import Supernet
from workers.train.loop import Report, Trainer
from workers.train.losses.distillation import kl_per_frame
from workers.train.losses.soft_targets import SoftTargets
from workers.train.objective import TrainingLoss
from workers.train.placement import Placement

_IN_PLACE = Distil(weight=0.5, temperature=1.0)  # how much a slice follows the largest
_ALONE = Distil(weight=0.0)


class SupernetTrainer(Trainer):
    """As any network is trained, resumed and averaged; only a step is of three students.

    Curve and log are of the largest. The teacher is followed by the largest alone.
    """

    network: Supernet

    def __init__(
        self,
        network: Supernet,
        corpus: Corpus,
        training: Training,
        seed: int,
        folder: Path,
        *,
        distil: Distil | None = None,
        soft_targets: SoftTargets | None = None,
        lock: HostLock | None = None,
        report: Report | None = None,
        placement: Placement | None = None,
        save_every_s: float = 5.0,
    ) -> None:
        super().__init__(
            network,
            corpus,
            training,
            seed,
            folder,
            distil=distil,
            soft_targets=soft_targets,
            lock=lock,
            report=report,
            placement=placement,
            save_every_s=save_every_s,
        )
        self._slice_loss = TrainingLoss(training, _ALONE, None, None)

    def _backward(
        self,
        features: Tensor,
        batch: Batch,
        share: float,
        rng: np.random.Generator,
        weight: float,
    ) -> float:
        largest = self._output(self.network, features, batch)
        loss, ctc = self.loss(largest, batch, share)
        self._place.backward(loss if weight == 1.0 else weight * loss)
        followed = largest.logits.detach().log_softmax(-1)
        for dims in (self.network.smallest, self.network.random(rng)):
            output = self._output(self.network.slice(dims), features, batch)
            loss, _ = self._slice_loss(output, batch, share)
            kl = kl_per_frame(output.logits, output.lengths, followed, _IN_PLACE.temperature)
            both = (1 - _IN_PLACE.weight) * loss + _IN_PLACE.weight * kl
            self._place.backward(both if weight == 1.0 else weight * both)
        return ctc
