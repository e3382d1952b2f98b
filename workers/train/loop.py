"""Trains a network: warm-up, a flat stretch, a decay to zero; exact to resume and to continue.

The schedule is warmup-stable-decay (arXiv 2405.18392): the state where the decay begins is kept
as the *trunk*, so that a student can later be trained to a larger budget from there, at the
cost of the decay only. The weights that ship are the mean of the last epochs'.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import torch
from torch import Tensor, nn

from spaces.recipe import Distil, Training
from workers.checkpoint import load_tensors, save_tensors
from workers.data.batches import Batch, Corpus, epoch_plan, load_batch, spec_augment
from workers.data.entries import Entry
from workers.data.text import decode
from workers.measure.quiet import Host
from workers.train.distil import HiddenMatch, Objective, TeacherCache

WARMUP_SHARE = 0.1
DECAY_SHARE = 0.4
AVERAGED_SHARE = 0.15
_CLIP_NORM = 5.0
_N_EVALUATIONS = 8
_STATE_EVERY_S = 5.0

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Progress:
    """One point of a learning curve. WER is of the network in torch, not of a shipped file."""

    epoch: int
    epochs: int
    train_ctc: float
    cpu_s: float
    dev_wer: float | None = None


@dataclass
class _State:
    """All that training needs to go on exactly where it stopped."""

    epoch: int = 0
    n_averaged: int = 0
    average: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


def bf16_pays() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


def learning_rate_at(share: float, peak: float) -> float:
    """Warm-up, flat, linear decay to zero; `share` of the steps are done."""
    return peak * min(1.0, share / WARMUP_SHARE, (1 - share) / DECAY_SHARE)


class Trainer:
    """One training run in a folder of its own, resumed from there if it was interrupted.

    Args:
        network: a student with its normalisation set.
        trunk: state at the start of a decay, to continue to a larger budget from.
        host: taken for each step, so that measurements find quiet; None to do without.
    """

    def __init__(
        self,
        network: nn.Module,
        corpus: Corpus,
        training: Training,
        seed: int,
        folder: Path,
        *,
        distil: Distil | None = None,
        teacher: TeacherCache | None = None,
        host: Host | None = None,
        trunk: Path | None = None,
        report: Report | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.corpus, self.training, self.seed, self.folder = corpus, training, seed, folder
        self.host, self.report = host, report
        distil = distil or Distil(weight=0.0)
        if distil.weight == 0.0:
            teacher = None
        self._hidden_match = self._make_hidden_match(distil, teacher)
        self.objective = Objective(training, distil, teacher, self._hidden_match)
        self._optimizer = self._make_optimizer()
        self._state = _State()
        self._autocast = bf16_pays()
        self._cpu_start = time.process_time()
        if (folder / "state.safetensors").exists():
            self._load(folder / "state.safetensors")
        elif trunk is not None:
            self._load(trunk)

    def _make_hidden_match(
        self, distil: Distil, teacher: TeacherCache | None
    ) -> HiddenMatch | None:
        if teacher is None or not distil.hidden_weight or teacher.hidden_size is None:
            return None
        n_student = self.network.head.in_features  # type: ignore[union-attr]
        return HiddenMatch(int(n_student), teacher.hidden_size)  # type: ignore[arg-type]

    def _parameters(self) -> dict[str, nn.Parameter]:
        named = dict(self.network.named_parameters())
        if self._hidden_match is not None:
            named |= {f"match.{k}": p for k, p in self._hidden_match.named_parameters()}
        return named

    def _make_optimizer(self) -> torch.optim.AdamW:
        named = self._parameters().values()
        groups = [
            {
                "params": [p for p in named if p.ndim > 1],
                "weight_decay": self.training.weight_decay,
            },
            {"params": [p for p in named if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)

    def run(self) -> list[dict[str, Any]]:
        """Train to the end of the budget; the network then holds the averaged weights.

        Returns:
            The learning curve, one entry an epoch.
        """
        epochs = self.training.epochs
        decay_start = math.floor(epochs * (1 - DECAY_SHARE))
        first_averaged = min(epochs - 1, math.floor(epochs * (1 - AVERAGED_SHARE)))
        saved_at = time.monotonic()
        self.network.train()
        while self._state.epoch < epochs:
            epoch = self._state.epoch
            if epoch == decay_start:
                self._save(self.folder / "trunk.safetensors")
            train_ctc = self._epoch(epoch)
            self._state.epoch += 1
            if epoch >= first_averaged:
                self._average()
            self._note(epoch + 1, train_ctc)
            is_last = self._state.epoch == epochs
            if is_last or time.monotonic() - saved_at > _STATE_EVERY_S:
                self._save(self.folder / "state.safetensors")
                saved_at = time.monotonic()
        self.network.load_state_dict(self._state.average)
        self.network.eval()
        return self._state.history

    def _epoch(self, epoch: int) -> float:
        # Each epoch has random numbers of its own, so that a resumed run repeats them.
        rng = np.random.default_rng([self.seed, epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        plan = epoch_plan(self.corpus, self.training.batch_s, rng)
        losses = []
        for step, items in enumerate(plan):
            batch = load_batch(self.corpus, items)
            share = (epoch + step / len(plan)) / self.training.epochs
            with self.host.busy() if self.host else nullcontext():
                losses.append(self.step(batch, share, rng))
        return float(np.mean(losses))

    def step(self, batch: Batch, share: float, rng: np.random.Generator) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate_at(share, self.training.learning_rate)
        if self.training.consistency:
            batch = batch.twice()
        features = self.network.frontend.normalise(batch.features)  # type: ignore[union-attr,operator]
        if self.training.augment:
            features = spec_augment(features, batch.lengths, self.training.augment, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            output = self.network(features, batch.lengths)
        loss, ctc = self.objective(output, batch, share)
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters().values(), _CLIP_NORM)
        self._optimizer.step()
        return ctc

    def _average(self) -> None:
        state = self._state
        state.n_averaged += 1
        for name, tensor in self.network.state_dict().items():
            if name not in state.average or not tensor.is_floating_point():
                state.average[name] = tensor.clone()
            else:
                state.average[name].lerp_(tensor, 1 / state.n_averaged)

    def _note(self, epoch: int, train_ctc: float) -> None:
        epochs = self.training.epochs
        dev_wer = None
        if epoch % max(1, epochs // _N_EVALUATIONS) == 0 or epoch == epochs:
            with self.host.busy() if self.host else nullcontext():
                dev_wer = dev_error_rate(self.network, self.corpus)
            self.network.train()
        point = Progress(epoch, epochs, train_ctc, time.process_time() - self._cpu_start, dev_wer)
        self._state.history.append(vars(point))
        if self.report:
            self.report(
                {"epoch": epoch, "epochs": epochs, "train_ctc": train_ctc, "dev_wer": dev_wer}
            )

    def _save(self, path: Path) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self._state.average.items()}
        for name, parameter in self._parameters().items():
            if name.startswith("match."):
                tensors[f"match_value.{name}"] = parameter
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        header = {
            "epoch": self._state.epoch,
            "n_averaged": self._state.n_averaged,
            "history": self._state.history,
        }
        save_tensors(tensors, path, header)

    def _load(self, path: Path) -> None:
        tensors, header = load_tensors(path)
        self._state.epoch, self._state.n_averaged = header["epoch"], header["n_averaged"]
        self._state.history = header["history"]
        self.network.load_state_dict(_under("network.", tensors))
        self._state.average = _under("average.", tensors)
        parameters = self._parameters()
        with torch.no_grad():
            for name, value in _under("match_value.", tensors).items():
                parameters[name].copy_(value)
        for key in ("step", "exp_avg", "exp_avg_sq"):
            for name, value in _under(f"adam.{key}.", tensors).items():
                kept = value if key == "step" else torch.empty_like(parameters[name]).copy_(value)
                self._optimizer.state[parameters[name]][key] = kept  # laid out as its parameter


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def dev_error_rate(network: nn.Module, corpus: Corpus) -> float:
    """WER of a network in torch on dev: for learning curves, never reported as a result."""
    network.eval()
    texts = []
    with torch.inference_mode():
        for entry in corpus.dev:
            texts.append(decode(best_path(network, corpus, entry), corpus.symbols))
    return float(jiwer.wer([e.text for e in corpus.dev], texts))


def best_path(network: nn.Module, corpus: Corpus, entry: Entry) -> list[int]:
    features = torch.from_numpy(np.array(corpus.frames(entry)))[None]
    features = network.frontend.normalise(features)  # type: ignore[union-attr,operator]
    output = network(features, torch.tensor([features.shape[1]]))
    ids: list[int] = output.logits[0].argmax(-1).tolist()
    return ids


def write_json(path: Path, content: Any) -> None:
    """Replace a small JSON file in one step."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(content))
    os.replace(partial, path)
