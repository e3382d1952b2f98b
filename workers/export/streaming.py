"""Exports a student that hears in chunks to a form that is fed window by window.

Inputs are x float32 [N, W, mels] and the state, outputs log_probs float32 [N, T', V] and the next
state; the state of a stream begins as zeros. `W` is a chunk and its look ahead, the next window
begins a chunk later. The state has the names and shapes that sherpa-onnx's door for streaming
Zipformer CTC models asks for, because that door has the front end of our offline exports in every
version; its NeMo door has another since 2.0. All that our networks carry lies in `cached_key_0`,
flat; what else a Zipformer would carry is as small as that door allows, and goes through.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.backends.windows import SHIFT
from workers.export.onnx import OPSET
from workers.students.base import Student
from workers.students.blocks.fold import fold_norms
from workers.students.chunks import Carried, Chunks, carriers, hearing_in

# What a Zipformer of one layer would carry besides its keys, for one stream, the batch axis as 1,
# and which axis that is.
_BESIDE = {
    "cached_nonlin_attn_0": ((1, 1, 1, 3), 1),
    "cached_val1_0": ((1, 1, 1), 1),
    "cached_val2_0": ((1, 1, 1), 1),
    "cached_conv1_0": ((1, 4, 1), 0),
    "cached_conv2_0": ((1, 4, 1), 0),
    "embed_states": ((1, 128, 3, 19), 0),
}
_KEYS = "cached_key_0"
_HEARD = "processed_lens"


class StreamingForm(nn.Module):
    """A student as one window after another hears it."""

    def __init__(self, network: Student) -> None:
        super().__init__()
        assert network.chunks is not None
        self.chunks: Chunks = network.chunks
        self.rate = network.dims.contract.subsampling_factor
        self.network = network
        self.carried = _asked(network, self.chunks, self.window)
        network.chunks = None  # a window is a whole utterance to it from here on

    @property
    def window(self) -> int:
        """Frames of features that it is given at a time."""
        return (self.chunks.chunk + self.chunks.ahead) * self.rate

    @property
    def state_size(self) -> int:
        """Numbers that a stream carries."""
        return sum(_size(module) for module in self.carried)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Windows float32 [N, W, mels] and states [N, S]: log-probabilities of the chunks
        [N, T', V], and states."""
        parts = state.split([_size(module) for module in self.carried], 1)
        for module, part in zip(self.carried, parts, strict=True):
            module.before = part.unflatten(1, module.shape)
        lengths = torch.full((1,), self.window).expand(x.shape[0])
        with hearing_in(self.network, self.chunks, None):
            output = self.network(self.network.normalise(x), lengths)
        after = [module.after for module in self.carried]
        told = torch.cat([t.flatten(1) for t in after if t is not None], 1)
        return F.log_softmax(output.logits[:, : self.chunks.chunk], -1), told


class _InSherpa(nn.Module):
    """The same with the inputs and outputs of that door."""

    def __init__(self, form: StreamingForm) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: Tensor, keys: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        *beside, heard = rest
        log_probs, state = self.form(x, keys.squeeze(0))
        through = [t + 0.0 for t in beside]
        heard = heard + self.form.chunks.chunk * self.form.rate
        return log_probs, state.unsqueeze(0), *through, heard


def export_streaming(network: Student, symbols: tuple[str, ...], path: Path) -> None:
    """Write the float32 ONNX file of a network in evaluation mode that hears in chunks."""
    form = StreamingForm(fold_norms(network)).eval()
    n = 2
    x = torch.randn(n, form.window, network.dims.front_end.mels)
    beside = {name: torch.zeros(_batched(*shape, n)) for name, shape in _BESIDE.items()}
    keys, heard = torch.zeros(1, n, form.state_size), torch.zeros(n, dtype=torch.int64)
    states = {_KEYS: keys, **beside, _HEARD: heard}
    axes = {_KEYS: 1, **{name: axis for name, (_, axis) in _BESIDE.items()}, _HEARD: 0}
    dynamic = {name: {axis: "N"} for name, axis in axes.items()}
    dynamic |= {f"new_{name}": axis for name, axis in dynamic.items()}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of shapes made constant; parity is the check
        torch.onnx.export(
            _InSherpa(form),
            (x, *states.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["x", *states],
            output_names=["log_probs", *(f"new_{name}" for name in states)],
            dynamic_axes={"x": {0: "N"}, "log_probs": {0: "N"}, **dynamic},
        )
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, _told(form, network, symbols))
    onnx.save(model, str(path))


def _told(form: StreamingForm, network: Student, symbols: tuple[str, ...]) -> dict[str, str]:
    """Metadata by which sherpa-onnx knows windows and states."""
    return {
        "model_type": "zipformer2_ctc",
        "version": "1",
        "model_author": "compression-search",
        "comment": f"streaming {network.dims.family}",
        "vocab_size": str(len(symbols)),
        "subsampling_factor": str(form.rate),
        "T": str(form.window),
        SHIFT: str(form.chunks.chunk * form.rate),
        "encoder_dims": "4",
        "query_head_dims": str(form.state_size),
        "value_head_dims": "1",
        "num_heads": "1",
        "num_encoder_layers": "1",
        "cnn_module_kernels": "2",
        "left_context_len": "1",
    }


@torch.inference_mode()
def _asked(network: Student, chunks: Chunks, window: int) -> list[Carried]:
    """The modules that carry something: they know how much once they have heard something."""
    silence = torch.zeros(1, window, network.dims.front_end.mels)
    with hearing_in(network, chunks, 1):
        nn.Module.__call__(network, silence, torch.tensor([window]))
    return [module for module in carriers(network) if module.shape]


def _size(module: Carried) -> int:
    return int(torch.Size(module.shape).numel())


def _batched(shape: tuple[int, ...], axis: int, n: int) -> tuple[int, ...]:
    return (*shape[:axis], n, *shape[axis + 1 :])
