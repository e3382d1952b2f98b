"""Weights and activations rounded as the quantizers will round them, with gradients that pass.

The formulas are those of ONNX Runtime's quantizers, so that a weight that was rounded here is not
changed by them: a network trained with rounded weights is exported as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

from workers.compress.quantization.quantize import INT4_BLOCK
from workers.compress.quantization.stored import MIN_WEIGHTS

_SMALLEST = 1e-12


def rounded_to_int8(weight: Tensor) -> Tensor:
    """Symmetric, a scale for each row of the first axis."""
    rows = weight.flatten(1)
    scale = (rows.abs().amax(1, keepdim=True) / 127).clamp_min(_SMALLEST)
    return _passing(weight, (torch.round(rows / scale).clamp(-127, 127) * scale).view_as(weight))


def rounded_to_int4(weight: Tensor, block: int = INT4_BLOCK) -> Tensor:
    """Symmetric, a scale for each block of inputs of each output, [outputs, inputs]: the number
    of the largest magnitude is -8 (as MatMulNBits has it)."""
    n_in = weight.shape[1]
    blocks = F.pad(weight, (0, -n_in % block)).unflatten(1, (-1, block))
    at = blocks.abs().argmax(2, keepdim=True)
    scale = torch.gather(blocks, 2, at) / -8
    scale = torch.where(scale.abs() < _SMALLEST, torch.full_like(scale, _SMALLEST), scale)
    rounded = torch.round(blocks / scale).clamp(-8, 7) * scale
    return _passing(weight, rounded.flatten(1)[:, :n_in])


def rounded_to_uint8(x: Tensor) -> Tensor:
    """An activation, with one scale and zero point, over the range that it has and zero."""
    low, high = x.detach().amin().clamp_max(0.0), x.detach().amax().clamp_min(0.0)
    scale = ((high - low) / 255).clamp_min(_SMALLEST)
    zero = torch.round(-low / scale)
    rounded = (torch.round(x / scale + zero).clamp(0, 255) - zero) * scale
    return _passing(x, rounded)


def _passing(x: Tensor, rounded: Tensor) -> Tensor:
    """The rounded value, with the gradient of what was rounded."""
    return x + (rounded - x).detach()


@dataclass(frozen=True)
class Rounding:
    """What becomes of a network in these formats of its parts: by the name of each weight how it
    is rounded, and the modules whose inputs are."""

    weights: Mapping[str, Callable[[Tensor], Tensor]]
    rounds_input: frozenset[str]


def rounding_of(network: nn.Module, formats: Mapping[str, str]) -> Rounding:
    """How the quantizers treat a network.

    Args:
        formats: of frontend, encoder and head; `int8` made one of its flavours before.
    """
    weights: dict[str, Callable[[Tensor], Tensor]] = {}
    rounds_input: set[str] = set()
    for name, module in network.named_modules():
        scheme = formats[part_of_module(name)]
        if not scheme.startswith("int") or isinstance(module, nn.Embedding):
            continue
        if isinstance(module, nn.Linear):
            weights[f"{name}.weight"] = rounded_to_int4 if scheme == "int4" else rounded_to_int8
            if scheme != "int4":
                rounds_input.add(name)
        elif isinstance(module, _ConvNd):
            if scheme == "int8_static" or module.weight.numel() >= MIN_WEIGHTS:
                weights[f"{name}.weight"] = rounded_to_int8
            if scheme == "int8_static":
                rounds_input.add(name)
        elif isinstance(module, nn.RNNBase):
            weights |= {
                f"{name}.{each}": rounded_to_int8
                for each, _ in module.named_parameters()
                if each.startswith("weight_")
            }
    return Rounding(weights, frozenset(rounds_input))


def part_of_module(name: str) -> str:
    """frontend, encoder or head, by the path of a module."""
    first = name.partition(".")[0]
    return first if first in ("frontend", "head") else "encoder"
