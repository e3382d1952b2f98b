"""Compress: prune a trained network, then train what is left; at once or round by round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from spaces.extensions import PRUNING_RULES
from spaces.families import Dims
from workers.checkpoint import load_network, save_network
from workers.compress.pruning.prune import prune_competing, prune_to, scores_of
from workers.data.corpus import Corpus
from workers.errors import TeacherFault
from workers.export.unit_time import unit_times
from workers.jobs import Compress
from workers.results import CompressResult, Epoch
from workers.stages.context import StageContext
from workers.stages.train import put_network, trainer_of
from workers.students.base import Student, build
from workers.train.evidence.gates import Gates
from workers.train.evidence.gradients import gradient_evidence
from workers.train.loop import Trainer
from workers.train.placement import Placement
from workers.train.stand_ins import StandIns

_GATED_SHARE = 1 / 3  # of the epochs of a round, while gates are learnt


def run(job: Compress, context: StageContext) -> CompressResult:
    """Remove the weakest units of a network and train it again."""
    torch.set_num_threads(job.threads)
    corpus = context.corpus(job.corpus)
    network, _, _ = load_network(context.fetch(job.checkpoint, "parent.safetensors"))
    whole, history = network.dims, []
    with context.gpu_for(job) as gpu:
        work = _Work(job, context, corpus, Placement.of(job, gpu))
        shared_out = epochs_of_rounds(job.training.epochs, job.rounds or 1)
        for i, n_epochs in enumerate(shared_out):
            kept = (1 - job.ratio) ** ((i + 1) / len(shared_out))  # the same share every time
            ratio = job.ratio if i + 1 == len(shared_out) else 1 - kept
            network, epochs = _Round(work, i, n_epochs).done(network, whole.pruned(ratio))
            history += epochs
    checkpoint = put_network(network, corpus, job, context)
    return CompressResult(checkpoint=checkpoint, history=_numbered(history))


def epochs_of_rounds(epochs: int, rounds: int) -> list[int]:
    """How long is trained after each cut: after the last for half of the epochs at least, for what
    was cut before is cut again."""
    rounds = min(rounds, epochs)
    between = max(1, epochs // 2 // max(1, rounds - 1))
    return [between] * (rounds - 1) + [epochs - between * (rounds - 1)]


def _numbered(history: list[Epoch]) -> tuple[Epoch, ...]:
    """Epochs of all rounds, one after the other."""
    return tuple(
        epoch.model_copy(update={"epoch": i, "epochs": len(history)})
        for i, epoch in enumerate(history, 1)
    )


@dataclass(frozen=True)
class _Work:
    """What all rounds have in common."""

    job: Compress
    context: StageContext
    corpus: Corpus
    placement: Placement

    def trainer(
        self, network: Student, epochs: int, folder: Path, stand_ins: StandIns | None = None
    ) -> Trainer:
        folder.mkdir(exist_ok=True)
        return trainer_of(
            network,
            self.corpus,
            self.job,
            self.context,
            self.placement,
            training=self.job.training.model_copy(update={"epochs": max(1, epochs)}),
            stand_ins=stand_ins,
            folder=folder,
        )


@dataclass(frozen=True)
class _Round:
    """One cut and the epochs that are trained after it."""

    work: _Work
    number: int
    epochs: int

    @property
    def _kind_of_evidence(self) -> str | None:
        """What the rule of the job wants beside the weights."""
        return getattr(PRUNING_RULES[self.work.job.rule], "EVIDENCE", None)

    def _path(self, name: str) -> Path:
        return self.work.context.folder / f"round{self.number}{name}"

    def done(self, network: Student, wanted: Dims) -> tuple[Student, list[Epoch]]:
        """The network after this round; what an interrupted attempt cut is not cut anew."""
        gated = self._kind_of_evidence == "gates"
        n_gated = max(1, round(self.epochs * _GATED_SHARE)) if gated else 0
        network = self._cut_already() or self._cut(network, wanted, n_gated)
        trainer = self.work.trainer(network, self.epochs - n_gated, self._path("-trained"))
        return network, list(trainer.run())

    def _cut_already(self) -> Student | None:
        """What an interrupted attempt left; a damaged file is dropped."""
        path = self._path("-cut.safetensors")
        if not path.exists():
            return None
        try:
            return load_network(path)[0]
        except TeacherFault as fault:
            print(f"{fault}; it is cut anew")
            path.unlink()
            return None

    def _cut(self, network: Student, wanted: Dims, n_gated: int) -> Student:
        job = self.work.job
        evidence = self._evidence(network, wanted, n_gated)
        scores = scores_of(network, job.rule, evidence)
        if job.scope is None:
            made = prune_to(network, wanted, scores)
        else:
            costs = None
            if job.scope == "time":
                quiet = self.work.context.lock.exclusive
                costs = unit_times(network, self._path("-timed"), quiet)
            made = prune_competing(network, wanted, scores, costs)
        save_network(made, self.work.corpus.symbols, self._path("-cut.safetensors"))
        return made

    def _evidence(
        self, network: Student, wanted: Dims, n_gated: int
    ) -> Mapping[str, Tensor] | None:
        """What the rule scores units by, beside their weights."""
        kind, folder = self._kind_of_evidence, self._path("-evidence")
        if kind == "gradients":
            return gradient_evidence(self.work.trainer(network, 1, folder))
        if kind == "gates":
            smaller = build(wanted, network.head.out_features).sized_groups()
            pairs = zip(smaller, network.sized_groups(), strict=True)
            gates = Gates(network, tuple(small.size / large.size for small, large in pairs))
            self.work.trainer(network, n_gated, folder, gates).run()
            return gates.settle(network)
        return None
