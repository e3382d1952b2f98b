"""Where a network is trained, in which numbers, and how batches get there.

On the CPU nothing is moved and nothing is scaled: results stay bit for bit what they are without
all this. Mixed precision as in Micikevicius et al., arXiv 1710.03740: bfloat16 as it is, float16
with a dynamic scale of the loss, whose steps are left out where a gradient is not finite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from workers.data.batches import Batch, load_batch
from workers.data.corpus import Corpus
from workers.jobs import OnDevice

_RESIDENT_SHARE = 0.4  # of the free memory of a device that features may take
_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}

Items = list[tuple[int, int]]
PseudoLabels = Mapping[int, Sequence[int]]


def has_native_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


@dataclass
class Placement:
    """A device and the numbers to compute in.

    Args:
        dtype: of matrix products; None is float32.
        keeps_features: whether the training features are copied to the device once, if they fit;
            None is on every device but the CPU.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype | None = None
    keeps_features: bool | None = None
    per_gpu: int = 1  # trainings that share the device
    n_skipped: int = 0  # steps left out because a gradient was not finite
    _kept: Tensor | None = None  # the features, on the device

    @classmethod
    def of(cls, job: OnDevice, gpu: int | None = None) -> Placement:
        """What a job asks for.

        Args:
            gpu: number of the CUDA device that it has a slot on.
        """
        if not job.device:
            return cls.on_cpu(job.precision)
        name = job.device if gpu is None else f"{job.device}:{gpu}"
        return cls(torch.device(name), _DTYPES[job.precision or "fp32"], per_gpu=job.per_gpu)

    @classmethod
    def on_cpu(cls, precision: str = "") -> Placement:
        """bfloat16 where the processor has it, unless something else is asked for."""
        usual = torch.bfloat16 if has_native_bf16() else None
        return cls(dtype=_DTYPES[precision] if precision else usual)

    @property
    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    @cached_property
    def _scaler(self) -> GradScaler | None:
        return GradScaler(self.device.type) if self.dtype == torch.float16 else None

    def autocast(self) -> AbstractContextManager[object]:
        """Matrix products in fewer bits."""
        dtype = self.dtype or torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=self.dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def step(self, optimizer: torch.optim.Optimizer, parameters: list[Tensor], norm: float) -> None:
        """Clip the gradients and take the step; in float16 only if all of them are finite."""
        if self._scaler is None:
            torch.nn.utils.clip_grad_norm_(parameters, norm)
            optimizer.step()
            return
        self._scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, norm)
        before = self._scaler.get_scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        self.n_skipped += self._scaler.get_scale() < before

    def scaling(self) -> dict[str, int | float]:
        """The state of the scale, for a checkpoint; empty where there is none."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def restore_scaling(self, state: dict[str, int | float]) -> None:
        if self._scaler is not None and state:
            self._scaler.load_state_dict(state)

    def batches(
        self, corpus: Corpus, plan: Sequence[Items], pseudo: PseudoLabels | None = None
    ) -> Iterator[Batch]:
        """The batches of a plan, on the device.

        Features that fit are kept there; else the next batch is read, and copied from pinned
        memory, while the last is worked on.

        Args:
            pseudo: token ids of utterances that have no transcript, by number.
        """
        if self._keeps(corpus):
            yield from (self._gathered(corpus, items, pseudo) for items in plan)
        elif self.is_cpu:
            yield from (load_batch(corpus, items, pseudo) for items in plan)
        else:
            yield from self._prefetched(corpus, plan, pseudo)

    def _keeps(self, corpus: Corpus) -> bool:
        """Whether the features lie on the device: decided once, for others claim memory later."""
        if self.keeps_features is None:
            is_whole = not (self.is_cpu or corpus.is_compact)
            self.keeps_features = is_whole and self._have_room(corpus.features.nbytes)
        if self.keeps_features and self._kept is None:
            try:
                self._kept = torch.from_numpy(np.array(corpus.features)).to(self.device)
            except torch.OutOfMemoryError:
                self.keeps_features = False
        return self.keeps_features

    def _have_room(self, n_bytes: int) -> bool:
        if self.device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(self.device)
        return n_bytes < _RESIDENT_SHARE * free / self.per_gpu

    def _gathered(self, corpus: Corpus, items: Items, pseudo: PseudoLabels | None) -> Batch:
        assert self._kept is not None
        spans = [corpus.spoken[i].at[augmentation] for i, augmentation in items]
        starts, lengths = torch.tensor(spans, device=self.device).T
        positions = torch.arange(max(n for _, n in spans), device=self.device)[None, :]
        is_inside = positions < lengths[:, None]
        at = torch.where(is_inside, starts[:, None] + positions, starts[:, None])
        features = self._kept[at] * is_inside[:, :, None]
        return _with_targets(corpus, items, features, lengths, pseudo or {})

    def _prefetched(
        self, corpus: Corpus, plan: Sequence[Items], pseudo: PseudoLabels | None = None
    ) -> Iterator[Batch]:
        def load(items: Items) -> Batch:
            batch = load_batch(corpus, items, pseudo)
            return batch.pinned() if self.device.type == "cuda" else batch

        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(load, items) for items in plan[:1]]
            for items in [*plan[1:], None]:
                batch = ahead.pop().result()
                if items is not None:
                    ahead.append(pool.submit(load, items))
                yield batch.to(self.device)


def _with_targets(
    corpus: Corpus, items: Items, features: Tensor, lengths: Tensor, pseudo: PseudoLabels
) -> Batch:
    ids = [pseudo.get(i, corpus.spoken[i].ids) for i, _ in items]
    device = features.device
    return Batch(
        features=features,
        lengths=lengths,
        targets=torch.tensor([i for each in ids for i in each], device=device),
        target_lengths=torch.tensor([len(each) for each in ids], device=device),
        items=tuple(items),
    )
