"""ncnn, by way of pnnx, from the torch network."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import ncnn
import numpy as np

from workers.backends.base import OperatorTime, Settings, Source
from workers.data.features import N_MELS
from workers.errors import UserFault

if TYPE_CHECKING:
    from torch import Tensor

_TRACED_FRAMES = (120, 201)  # of two lengths, so that pnnx takes the length for free


class NcnnSession:
    """One network; of any length, an utterance at a time."""

    def __init__(self, net: Any) -> None:
        self._net = net

    def run(self, features: np.ndarray) -> np.ndarray:
        with self._net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(features))
            _, logits = extractor.extract("out0")
            # Here and not in the network: ncnn takes the logarithm of a softmax that may be 0.
            return _log_softmax(np.array(logits))

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:  # noqa: ARG002
        """None: ncnn's package is built without its profiler."""
        return None

    def close(self) -> None:
        self._net.clear()


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    normalised: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return normalised


def prepare(source: Source, folder: Path) -> tuple[str, ...]:
    """Convert the torch network, its weights in half floats when the recipe says so.

    Raises:
        UserFault: for a student that pnnx or ncnn does not take.
    """
    if source.network is None:
        raise UserFault("ncnn starts from the torch network; there is only an ONNX file")
    param, weights = folder / "model.param", folder / "model.bin"
    with TemporaryDirectory() as temporary:
        traced = Path(temporary) / "model.pt"
        _trace(source.network, traced)
        _convert(traced, param, weights, half=source.format == "fp16")
    open_session(param, Settings()).close()  # an operator that ncnn has not is found on loading
    return param.name, weights.name


def _trace(checkpoint: Path, target: Path) -> None:
    """Write the network from features [1, T, 80] to logits [1, T', V] as TorchScript."""
    import torch

    from workers.checkpoint import load_network
    from workers.students.blocks.fold import fold_norms
    from workers.students.blocks.recurrent import RecurrentLayer

    network = fold_norms(load_network(checkpoint)[0])
    for layer in network.modules():
        if isinstance(layer, RecurrentLayer):
            layer.bidirectional = False  # runs in both all the same, but packs no padding away

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, features: Tensor) -> Tensor:
            normalised = network.normalise(features)
            return network(normalised, torch.tensor([features.shape[1]])).logits

    with _without_masks(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that the length is a constant: nothing reads it
        example = torch.randn(1, _TRACED_FRAMES[0], N_MELS)
        traced = torch.jit.trace(Logits(), example, check_trace=False)
    traced.save(str(target))


class _NoMask:
    """A mask that hides nothing, and leaves no trace in a graph: ncnn could not compute one."""

    def __rmul__(self, frames: Tensor) -> Tensor:
        return frames

    def __radd__(self, scores: Tensor) -> Tensor:
        return scores

    def _same(self, *_: object) -> _NoMask:
        return self

    transpose = unsqueeze = __sub__ = __mul__ = _same


@contextmanager
def _without_masks() -> Iterator[None]:
    """One utterance has no padding to hide."""
    users = [
        module
        for name, module in sys.modules.items()
        if name.startswith("workers.students.") and hasattr(module, "frame_mask")
    ]
    original = users[0].frame_mask
    try:
        for module in users:
            vars(module)["frame_mask"] = lambda _lengths, _n_frames: _NoMask()
        yield
    finally:
        for module in users:
            vars(module)["frame_mask"] = original


def _convert(traced: Path, param: Path, weights: Path, half: bool) -> None:
    import pnnx

    shapes = (
        f"inputshape{i}=[1,{n},{N_MELS}]" for i, n in zip(("", "2"), _TRACED_FRAMES, strict=True)
    )
    targets = (f"ncnnparam={param}", f"ncnnbin={weights}")
    done = subprocess.run(
        [pnnx.EXEC_PATH, str(traced), *shapes, *targets, f"fp16={int(half)}"],
        cwd=traced.parent,  # where it leaves half a dozen files that nobody asked for
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode != 0 or not param.is_file():
        raise UserFault(f"pnnx cannot convert the network ({_last_line(done.stderr)})")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1][:300]


def open_session(model: Path, settings: Settings) -> NcnnSession:
    """Load a network by its param file; its weights lie beside it.

    Raises:
        UserFault: when ncnn cannot load it.
    """
    net = ncnn.Net()
    options = net.opt
    options.num_threads = settings.threads
    options.use_vulkan_compute = False
    for kind in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(options, f"use_{kind}", False)  # whatever the weights are stored in
    if net.load_param(str(model)) != 0 or net.load_model(str(model.with_suffix(".bin"))) != 0:
        raise UserFault(f"{model}: ncnn cannot load it, or not the .bin beside it")
    return NcnnSession(net)


def version() -> str:
    return f"ncnn {ncnn.__version__}"
