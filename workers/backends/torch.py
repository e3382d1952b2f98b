"""PyTorch itself, from the checkpoint: with CUDA graphs on a GPU, else eagerly on the CPU.

The path on a GPU never ran anywhere yet. There a small network's kernels take less time than
their launches; a graph launches all of them at once, but of fixed shapes only: an utterance is
padded to the next of a few lengths, and the network is told how much of it counts.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from workers.backends.base import OperatorTime, Settings, Source
from workers.checkpoint import load_network
from workers.data.features import N_MELS
from workers.errors import UserFault
from workers.students.base import Student
from workers.students.blocks.fold import fold_norms
from workers.students.blocks.recurrent import RecurrentLayer

_LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}
_STEP = 128  # frames from one length of a graph to the next
_GRAPHS = 8  # kept at a time, each with its own memory
_WARM_UP = 3  # runs before a capture, as PyTorch's documentation asks for


@dataclass(frozen=True)
class _Graph:
    graph: torch.cuda.CUDAGraph
    features: Tensor  # [1, T, 80], read at every replay as the lengths are
    lengths: Tensor  # [1]
    log_probs: Tensor  # [1, T', V], written at every replay


class TorchSession:
    """A network on its device."""

    def __init__(self, network: Student, device: torch.device, precision: str) -> None:
        self._network, self._device = network.to(device), device
        self._low = _LOW.get(precision)
        self._graphs: OrderedDict[int, _Graph] = OrderedDict()
        # Packing reads lengths on the host, which a graph cannot.
        packs = any(isinstance(m, RecurrentLayer) and m.bidirectional for m in network.modules())
        self._captures = device.type == "cuda" and not packs

    def run(self, features: np.ndarray) -> np.ndarray:
        if self._captures:
            return self._replay(features)
        return self._eager(features)[0].cpu().numpy()

    def _eager(self, features: np.ndarray) -> Tensor:
        on_device = torch.tensor(features, device=self._device)[None]
        return self._forward(on_device, torch.tensor([len(features)], device=self._device))

    def _forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities float32 [1, T', V]."""
        # Cached casts of the weights would be freed between a capture and its replay.
        low = (
            torch.autocast(self._device.type, self._low, cache_enabled=False)
            if self._low is not None
            else nullcontext()
        )
        with torch.inference_mode(), low:
            normalised = self._network.normalise(features)
            return F.log_softmax(self._network(normalised, lengths).logits.float(), -1)

    def _replay(self, features: np.ndarray) -> np.ndarray:
        n_frames = len(features)
        graph = self._graph(-(-n_frames // _STEP) * _STEP)
        with torch.inference_mode():
            # Frames of an earlier utterance may lie behind this one: the network masks them.
            graph.features[0, :n_frames].copy_(torch.tensor(features))
            graph.lengths.fill_(n_frames)
            graph.graph.replay()
            return graph.log_probs[0, : -(-n_frames // 4)].cpu().numpy()

    def _graph(self, length: int) -> _Graph:
        if length not in self._graphs:
            if len(self._graphs) == _GRAPHS:
                self._graphs.popitem(last=False)
            self._graphs[length] = self._captured(length)
        self._graphs.move_to_end(length)
        return self._graphs[length]

    def _captured(self, length: int) -> _Graph:
        with torch.inference_mode():
            features = torch.zeros(1, length, N_MELS, device=self._device)
            lengths = torch.full((1,), length, device=self._device)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._forward(features, lengths)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            log_probs = self._forward(features, lengths)
        return _Graph(graph, features, lengths, log_probs)

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:
        """By PyTorch's profiler, operators of one kind together; eagerly, also on a GPU."""
        self._eager(features)
        with torch.profiler.profile() as profiled:
            for _ in range(runs):
                self._eager(features)
        times = [
            OperatorTime(event.key, event.key, self._spent_us(event) / 1000 / runs)
            for event in profiled.key_averages()
        ]
        return sorted((t for t in times if t.time_ms > 0), key=lambda t: -t.time_ms)

    def _spent_us(self, event: Any) -> float:
        on_gpu = self._device.type == "cuda"
        return event.self_device_time_total if on_gpu else event.self_cpu_time_total

    def close(self) -> None:
        self._graphs.clear()


def prepare(source: Source, folder: Path) -> tuple[str, ...]:
    """The checkpoint as it is.

    Raises:
        UserFault: when there is none.
    """
    if source.network is None:
        raise UserFault("torch runs the torch network; there is only an ONNX file")
    target = folder / "model.safetensors"
    shutil.copyfile(source.network, target)
    return (target.name,)


def open_session(model: Path, settings: Settings) -> TorchSession:
    """Load a checkpoint, on a GPU if there is one.

    Raises:
        UserFault: for a file that is not a checkpoint, or half precision without a GPU.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and settings.precision == "fp16":
        raise UserFault(f"{model}: torch computes in fp16 on a GPU only, and finds none")
    torch.set_num_threads(settings.threads)
    return TorchSession(fold_norms(load_network(model)[0]), device, settings.precision)


def version() -> str:
    return f"torch {torch.__version__}"
