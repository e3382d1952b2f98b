"""ExecuTorch with XNNPACK, from the torch network: one method a length, all over the same weights.

XNNPACK wants lengths fixed: an utterance is padded to the next of a few, and the network is told
how much of it counts.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Program, Runtime
from torch import Tensor, nn
from torch.nn import functional as F

from workers.backends.base import OperatorTime, Settings, Source
from workers.data.features import N_MELS
from workers.errors import UserFault

_METHOD = "frames_"


class ExecutorchSession:
    """A program; a method is loaded, and takes its memory, when its length first comes up."""

    def __init__(self, model: Path, program: Program) -> None:
        self._model, self._program = model, program
        self._lengths = sorted(int(m.removeprefix(_METHOD)) for m in program.method_names)
        self._methods: dict[int, Any] = {}

    def run(self, features: np.ndarray) -> np.ndarray:
        n_frames = len(features)
        length = next((n for n in self._lengths if n >= n_frames), None)
        if length is None:
            raise UserFault(
                f"{self._model}: an utterance of {n_frames} frames is longer than the longest "
                f"that it was prepared for, {self._lengths[-1]}"
            )
        if length not in self._methods:
            self._methods[length] = self._program.load_method(f"{_METHOD}{length}")
        padded = torch.zeros(1, length, N_MELS)
        padded[0, :n_frames] = torch.tensor(features)
        (log_probs,) = self._methods[length].execute([padded, torch.tensor([n_frames])])
        return log_probs[0, : -(-n_frames // 4)].numpy()

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:  # noqa: ARG002
        """None: the package is built without its event tracer."""
        return None

    def close(self) -> None:
        self._methods.clear()
        self._program = None


def prepare(source: Source, folder: Path) -> tuple[str, ...]:
    """Lower the torch network for each of `source.lengths` (some 10 s each).

    Raises:
        UserFault: without a network to lower, or without lengths.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    if source.network is None or not source.lengths:
        raise UserFault("ExecuTorch is prepared from a checkpoint, for utterances of given lengths")
    # Its compiler, which lies beside the interpreter: that need not be on the PATH.
    os.environ["FLATC_EXECUTABLE"] = str(Path(sys.executable).with_name("flatc"))
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    student = _Student(source.network)
    methods = {f"{_METHOD}{n}": _exported(student, n, source.format) for n in source.lengths}
    lowered = to_edge_transform_and_lower(methods, partitioner=[XnnpackPartitioner()])
    target = folder / "model.pte"
    with target.open("wb") as file:
        lowered.to_executorch().write_to_file(file)
    return (target.name,)


class _Student(nn.Module):
    """A network from raw features [1, T, 80] and lengths [1] to log-probabilities [1, T', V]."""

    def __init__(self, checkpoint: Path) -> None:
        from workers.checkpoint import load_network
        from workers.students.blocks.fold import fold_norms

        super().__init__()
        self.network = fold_norms(load_network(checkpoint)[0])

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        normalised = self.network.normalise(features)
        return F.log_softmax(self.network(normalised, lengths).logits, -1)


def _exported(student: _Student, length: int, number_format: str) -> torch.export.ExportedProgram:
    example = torch.zeros(1, length, N_MELS), torch.tensor([length])
    with torch.no_grad():
        exported = torch.export.export(student.eval(), example)
        if number_format == "fp32":
            return exported
        return torch.export.export(_quantized(exported.module(), example), example)


def _quantized(graph: Any, example: tuple[Tensor, Tensor]) -> Any:
    """Weights of convolutions and matrix products in 8 bits, activations as they come.

    Static activations would share one scale between scores of attention and the -10 000 that
    hides padding from it: a fifth of the frames came out differently.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    prepared = prepare_pt2e(graph, XNNPACKQuantizer().set_global(config))
    prepared(*example)  # the weights are looked at as they are used
    return convert_pt2e(prepared)


def open_session(model: Path, settings: Settings) -> ExecutorchSession:
    """Load a program that `prepare` wrote.

    Raises:
        UserFault: when it is none.
    """
    # By default it counts the machine's cores, and took ten times as long on a shared one.
    portable_lib._unsafe_reset_threadpool(settings.threads)
    try:
        return ExecutorchSession(model, Runtime.get().load_program(model))
    except (RuntimeError, OSError, ValueError) as error:
        raise UserFault(f"{model}: ExecuTorch cannot load it") from error


def version() -> str:
    return f"executorch {importlib.metadata.version('executorch')}"
