"""Trains a network. An interrupted run goes on to the same weights as one that was not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor, nn

from spaces.recipe import Distil, LossWeight, Training
from spaces.record import Record
from workers.checkpoint import load_tensors, save_tensors
from workers.data.batches import Batch, epoch_plan, spec_augment
from workers.data.corpus import Corpus
from workers.data.text import decode
from workers.data.utterances import Utterance
from workers.data.word_errors import utterance_errors
from workers.errors import Diverged
from workers.host_lock import HostLock
from workers.results import Epoch, RungScore
from workers.students.base import Output, Student, Targets
from workers.students.slicing import NetworkSlice
from workers.train.averaging import WeightAverage, final_average, rung_average, rung_epoch
from workers.train.dynamic_chunks import dynamic_chunks, with_silent_end
from workers.train.losses.extra import extra_losses
from workers.train.losses.feature_alignment import FeatureAlignmentLoss
from workers.train.losses.soft_targets import SoftTargets
from workers.train.objective import TrainingLoss
from workers.train.placement import Placement
from workers.train.schedule import learning_rate_at
from workers.train.stand_ins import StandIns

_CLIP_NORM = 5.0
_N_EVALUATIONS = 8
_MOST_ON_CURVE = 200  # utterances: a learning curve is looked at, nothing is decided by it
_STAND_INS_FASTER = 10.0  # how much their own parameters' rate is above the weights'
_FINAL = "average"  # the name of the mean of what ships, in memory and in the state's file

Report = Callable[[str, int, int], None]


@dataclass
class _State:
    """All that training needs to go on exactly where it stopped."""

    averages: dict[str, WeightAverage]  # by name: that of the end, those of rungs
    epoch: int = 0
    history: list[Epoch] = field(default_factory=list)
    rungs: list[RungScore] = field(default_factory=list)


class _Header(Record):
    """What of the state is not a tensor."""

    epoch: int
    n_averaged: int
    history: tuple[Epoch, ...]
    rungs: tuple[RungScore, ...] = ()
    n_averaged_at_rungs: dict[str, int] = Field(default_factory=dict)
    scaling: dict[str, int | float] = Field(default_factory=dict)  # of the loss, in float16
    n_skipped: int = 0


class Trainer:
    """One training run in a folder of its own, resumed from there if it was interrupted.

    Args:
        network: a student with its normalisation set.
        losses: of other packages, with their weights.
        rungs: shares of the epochs after which the network is scored on dev.
        lock: taken for each step, so that measurements find quiet; None to do without.
        report: told of the epochs done.
        placement: where and in which numbers; by default the CPU.
        stand_ins: what the network computes with instead of its own tensors; None for these.
        save_every_s: how much work an interruption may cost.
    """

    def __init__(
        self,
        network: Student,
        corpus: Corpus,
        training: Training,
        seed: int,
        folder: Path,
        *,
        distil: Distil | None = None,
        losses: tuple[LossWeight, ...] = (),
        rungs: tuple[float, ...] = (),
        soft_targets: SoftTargets | None = None,
        lock: HostLock | None = None,
        report: Report | None = None,
        placement: Placement | None = None,
        stand_ins: StandIns | None = None,
        save_every_s: float = 5.0,
    ) -> None:
        torch.manual_seed(seed)
        self._place = Placement.on_cpu() if placement is None else placement
        network.to(self._place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network
        self.corpus, self.training, self.seed, self.folder = corpus, training, seed, folder
        self.lock, self.report, self._save_every_s = lock, report, save_every_s
        self._stand_ins = stand_ins
        if stand_ins is not None:
            stand_ins.to(self._place.device)
        distil = distil or Distil(weight=0.0)
        if distil.weight == 0.0:
            soft_targets = None
        self._pseudo_labels = {} if soft_targets is None else soft_targets.pseudo_labels
        self._alignment = self._make_alignment(distil, soft_targets)
        self.loss = TrainingLoss(
            training, distil, soft_targets, self._alignment, extra_losses(losses, network)
        )
        self._optimizer = self._make_optimizer()
        averages = {f"rung{share:g}": rung_average(share, training.epochs) for share in rungs}
        self._state = _State({_FINAL: final_average(training.epochs), **averages})
        self._n_parts = 1  # that a batch is worked on in: more where memory was too little
        self._cpu_start = time.process_time()
        found = _read_state(folder / "state.safetensors")
        if found is not None:
            self._load(*found)

    def _make_alignment(
        self, distil: Distil, soft_targets: SoftTargets | None
    ) -> FeatureAlignmentLoss | None:
        if soft_targets is None or not distil.hidden_weight or soft_targets.hidden_size is None:
            return None
        theirs, halfway = soft_targets.halfway_size, None
        mine = self._halfway_size() if theirs and distil.hidden_layers > 1 else None
        if mine is not None:
            halfway = (mine, theirs)
        n_last = soft_targets.hidden_size - theirs
        made = FeatureAlignmentLoss(self.network.head.in_features, n_last, halfway)
        return made.to(self._place.device)

    @torch.no_grad()
    def _halfway_size(self) -> int | None:
        """How wide the network is at half its depth; None where it has no half."""
        was_training, n_frames = self.network.training, 40
        silence = torch.zeros((1, n_frames, self.network.dims.front_end.mels))
        lengths = torch.tensor([n_frames], device=self._place.device)
        halfway = self.network.eval()(silence.to(self._place.device), lengths).halfway
        self.network.train(was_training)
        return None if halfway is None else halfway.shape[-1]

    def _parameters(self) -> dict[str, nn.Parameter]:
        named = dict(self.network.named_parameters())
        return named | self._beside()

    def _beside(self) -> dict[str, nn.Parameter]:
        """What is trained and is not the network's."""
        beside: dict[str, nn.Parameter] = {}
        if self._alignment is not None:
            beside |= {f"match.{k}": p for k, p in self._alignment.named_parameters()}
        if self._stand_ins is not None:
            beside |= {f"stand_in.{k}": p for k, p in self._stand_ins.parameters.items()}
        return beside

    def _make_optimizer(self) -> torch.optim.AdamW:
        fast = [] if self._stand_ins is None else list(self._stand_ins.parameters.values())
        taken = {id(p) for p in fast}
        named = [p for p in self._parameters().values() if id(p) not in taken]
        groups = [
            {
                "params": [p for p in named if p.ndim > 1],
                "weight_decay": self.training.weight_decay,
            },
            {"params": [p for p in named if p.ndim <= 1], "weight_decay": 0.0},
        ]
        if fast:
            groups.append({"params": fast, "weight_decay": 0.0, "times": _STAND_INS_FASTER})
        return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)

    @property
    def history(self) -> list[Epoch]:
        """The learning curve so far, one entry an epoch."""
        return self._state.history

    @property
    def rungs(self) -> list[RungScore]:
        """Scores of the rungs so far."""
        return self._state.rungs

    def run(self) -> list[Epoch]:
        """Train to the end of the budget; the network then holds the averaged weights.

        Returns:
            The learning curve.
        """
        self._run_until(self.training.epochs)
        self.network.load_state_dict(self._state.averages[_FINAL].weights)
        self.network.eval().to("cpu")
        return self._state.history

    def run_to_rung(self, share: float) -> RungScore:
        """Train until a rung, one of those that were named, and pause there.

        Returns:
            What the network makes of dev.
        """
        epoch = rung_epoch(share, self.training.epochs)
        self._run_until(epoch)
        return next(score for score in self._state.rungs if score.epoch == epoch)

    def _run_until(self, last: int) -> None:
        saved_at = time.monotonic()
        self.network.train()
        while self._state.epoch < last:
            epoch = self._state.epoch
            train_ctc = self._epoch(epoch)
            self._state.epoch += 1
            for average in self._state.averages.values():
                average.add(self.network, epoch + 1)
            self._note(epoch + 1, train_ctc)
            self._score_rungs(epoch + 1)
            is_last = self._state.epoch == last
            if is_last or time.monotonic() - saved_at > self._save_every_s:
                self._save(self.folder / "state.safetensors")
                saved_at = time.monotonic()

    def _epoch(self, epoch: int) -> float:
        # Each epoch has random numbers of its own, so that a resumed run repeats them.
        rng = np.random.default_rng([self.seed, epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        n_batches, batches = self.batches(rng)
        losses = []
        for step, batch in enumerate(batches):
            share = (epoch + step / n_batches) / self.training.epochs
            with self.lock.shared() if self.lock else nullcontext():
                losses.append(self.step(batch, share, rng))
        self._check_finite(epoch)
        return float(np.mean(losses))

    def _check_finite(self, epoch: int) -> None:
        """What has diverged never comes back.

        Raises:
            Diverged: saying what to lower.
        """
        if not all(bool(torch.isfinite(p).all()) for p in self._parameters().values()):
            raise Diverged(
                f"training diverged in epoch {epoch + 1} of {self.training.epochs}: weights are no "
                "numbers any more; lower training.learning_rate "
                f"({self.training.learning_rate:g})"
            )

    def step(self, batch: Batch, share: float, rng: np.random.Generator) -> float:
        """One step of the optimizer; where a device has too little memory for the batch, in parts
        whose gradients are added up, from then on.

        Returns:
            The CTC part of the loss.
        """
        for group in self._optimizer.param_groups:
            rate = learning_rate_at(share, self.training.learning_rate)
            group["lr"] = rate * group.get("times", 1.0)
        while True:
            try:
                ctc = self.gradients(batch, share, rng)
                break
            except torch.OutOfMemoryError:
                if self._n_parts >= len(batch.items):
                    raise
                self._n_parts *= 2
                print(f"out of memory: batches are worked on in {self._n_parts} parts from now on")
            torch.cuda.empty_cache()  # not within the handler, whose traceback holds tensors
        parameters: list[Tensor] = list(self._parameters().values())
        self._place.step(self._optimizer, parameters, _CLIP_NORM)
        return ctc

    def batches(self, rng: np.random.Generator) -> tuple[int, Iterator[Batch]]:
        """Those of an epoch, and how many there are."""
        pseudo = self._pseudo_labels
        plan = epoch_plan(self.corpus, self.training.batch_s, rng, sorted(pseudo))
        return len(plan), self._place.batches(self.corpus, plan, pseudo)

    def gradients(self, batch: Batch, share: float, rng: np.random.Generator) -> float:
        """Those of a batch, as if it were worked on whole; the CTC part of its loss."""
        self._optimizer.zero_grad()
        if self._n_parts == 1:
            return self._of_part(batch, share, rng, 1.0)
        parts, total = batch.parts(self._n_parts), int(batch.lengths.sum())
        shares = [int(part.lengths.sum()) / total for part in parts]  # losses are per frame
        return sum(
            self._of_part(part, share, rng, weight) * weight
            for part, weight in zip(parts, shares, strict=True)
        )

    def _of_part(
        self, batch: Batch, share: float, rng: np.random.Generator, weight: float
    ) -> float:
        if self.training.consistency:
            batch = batch.twice()
        features = self.network.normalise(batch.features)
        if self.training.augment:
            features = spec_augment(features, batch.lengths, self.training.augment, rng)
        return self._backward(features, batch, share, rng, weight)

    def _backward(
        self,
        features: Tensor,
        batch: Batch,
        share: float,
        _rng: np.random.Generator,
        weight: float,
    ) -> float:
        """Add the gradients of a batch, weighed; the CTC part of its loss."""
        loss, ctc = self.loss(self._output(self.network, features, batch), batch, share)
        if self._stand_ins is not None:
            loss = loss + self._stand_ins.loss()
        self._place.backward(loss if weight == 1.0 else weight * loss)
        return ctc

    def _output(self, network: Student | NetworkSlice, features: Tensor, batch: Batch) -> Output:
        told = (Targets(batch.targets, batch.target_lengths),) if network.reads_targets else ()
        student = network if isinstance(network, Student) else network.network
        lengths = batch.lengths
        if student.dims.streaming is not None and self._alignment is None:
            features, lengths = with_silent_end(student, features, lengths)
        given = (features, lengths, *told)
        with self._place.autocast(), dynamic_chunks(student):
            if self._stand_ins is not None and isinstance(network, Student):
                tensors = self._stand_ins.tensors(network)
                computed: Output = torch.func.functional_call(network, tensors, given)
                return computed
            output: Output = network(*given)
            return output

    def _score_rungs(self, epoch: int) -> None:
        """Score what rungs end here; training goes on with the weights it had."""
        averages = [a for name, a in self._state.averages.items() if name != _FINAL]
        for average in (a for a in averages if a.last == epoch):
            kept = {name: value.clone() for name, value in self.network.state_dict().items()}
            self.network.load_state_dict(average.weights)
            with self.lock.shared() if self.lock else nullcontext():
                errors, words = dev_errors(self.network, self.corpus)
            self.network.load_state_dict(kept)
            self.network.train()
            average.weights.clear()
            self._state.rungs.append(
                RungScore(
                    epoch=epoch,
                    epochs=self.training.epochs,
                    errors=tuple(errors.tolist()),
                    wer=float(errors.sum() / words.sum()),
                    cpu_s=time.process_time() - self._cpu_start,
                )
            )

    def _note(self, epoch: int, train_ctc: float) -> None:
        epochs = self.training.epochs
        dev_wer = None
        if epoch % max(1, epochs // _N_EVALUATIONS) == 0 or epoch == epochs:
            with self.lock.shared() if self.lock else nullcontext():
                errors, words = dev_errors(self.network, self.corpus, _MOST_ON_CURVE)
            dev_wer = float(errors.sum() / words.sum())
            self.network.train()
        self._state.history.append(
            Epoch(
                epoch=epoch,
                epochs=epochs,
                train_ctc=train_ctc,
                cpu_s=time.process_time() - self._cpu_start,
                dev_wer=dev_wer,
                n_skipped=self._place.n_skipped,
            )
        )
        if self.report:
            self.report("epochs", epoch, epochs)

    def _save(self, path: Path) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for name, average in self._state.averages.items():
            tensors |= {f"{name}.{k}": v for k, v in average.weights.items()}
        tensors |= {f"match_value.{name}": value for name, value in self._beside().items()}
        for name, parameter in self._parameters().items():
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        header = _Header(
            epoch=self._state.epoch,
            n_averaged=self._state.averages[_FINAL].n,
            history=tuple(self._state.history),
            rungs=tuple(self._state.rungs),
            n_averaged_at_rungs={k: a.n for k, a in self._state.averages.items() if k != _FINAL},
            scaling=self._place.scaling(),
            n_skipped=self._place.n_skipped,
        )
        save_tensors(tensors, path, header.model_dump())

    def _load(self, tensors: dict[str, Tensor], header: _Header) -> None:
        self._state.epoch, self._state.history = header.epoch, list(header.history)
        self._state.rungs = list(header.rungs)
        self._cpu_start -= header.history[-1].cpu_s if header.history else 0.0  # spent before
        for name, average in self._state.averages.items():
            average.n = {**header.n_averaged_at_rungs, _FINAL: header.n_averaged}.get(name, 0)
            weights = _under(f"{name}.", tensors)
            average.weights = {k: v.to(self._place.device) for k, v in weights.items()}
        self._place.restore_scaling(header.scaling)
        self._place.n_skipped = header.n_skipped
        self.network.load_state_dict(_under("network.", tensors))
        parameters = self._parameters()
        with torch.no_grad():
            for name, value in _under("match_value.", tensors).items():
                parameters[name].copy_(value)
        for key in ("step", "exp_avg", "exp_avg_sq"):
            for name, value in _under(f"adam.{key}.", tensors).items():
                parameter = parameters[name]
                if key == "step":  # a fused optimizer reads it where its parameter is
                    kept = value.to(parameter.device)
                else:  # laid out as its parameter
                    kept = torch.empty_like(parameter).copy_(value)
                self._optimizer.state[parameter][key] = kept


def _read_state(path: Path) -> tuple[dict[str, Tensor], _Header] | None:
    """What an interrupted attempt left; a damaged file is dropped, and training begins anew."""
    if not path.exists():
        return None
    try:
        tensors, content = load_tensors(path)
        return tensors, _Header.model_validate(content)
    except (SafetensorError, OSError, ValueError) as error:
        print(f"{path.name} cannot be read ({error}); training begins anew")
        path.unlink()
        return None


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def dev_errors(
    network: Student, corpus: Corpus, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Word errors and words int64 [utterances] of a network in torch on dev: for learning curves
    and rungs, never reported as a result.

    Args:
        most: of a longer dev set only so many utterances, evenly spread.
    """
    network.eval()
    step = 1 if most is None else -(-len(corpus.dev) // most)
    utterances = corpus.dev[::step]
    texts = []
    with torch.inference_mode():
        for utterance in utterances:
            texts.append(decode(best_path(network, corpus, utterance), corpus.symbols))
    references = [u.text for u in utterances]
    return utterance_errors(references, texts), np.array([len(r.split()) for r in references])


def best_path(network: Student, corpus: Corpus, utterance: Utterance) -> list[int]:
    """The likeliest symbol of each output frame."""
    device = next(network.parameters()).device
    features = torch.from_numpy(np.array(corpus.frames(utterance)))[None].to(device)
    features = network.normalise(features)
    output = network(features, torch.tensor([features.shape[1]], device=device))
    ids: list[int] = output.logits[0].argmax(-1).tolist()
    return ids
