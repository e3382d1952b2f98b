"""Training with numbers rounded as they will be (quantization-aware training)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from workers.compress.quantization.rounding import Rounding, rounded_to_uint8
from workers.students.base import Student


class Rounded:
    """Stand-ins of a network's weights in fewer bits; the inputs of layers are rounded by hooks,
    while it is trained."""

    parameters: Mapping[str, nn.Parameter] = MappingProxyType({})

    def __init__(self, network: Student, rounding: Rounding) -> None:
        self._rounding = rounding
        self._hooks = [
            network.get_submodule(name).register_forward_pre_hook(_round_input)
            for name in sorted(rounding.rounds_input)
        ]

    def to(self, device: torch.device) -> None:
        """It has nothing of its own."""

    def tensors(self, network: Student) -> dict[str, Tensor]:
        named = dict(network.named_parameters())
        return {name: rounded(named[name]) for name, rounded in self._rounding.weights.items()}

    def loss(self) -> float:
        return 0.0

    @torch.no_grad()
    def settle(self, network: Student) -> None:
        """The weights as they are rounded, for good; nothing else is rounded from now on."""
        network.load_state_dict({**network.state_dict(), **self.tensors(network)})
        for hook in self._hooks:
            hook.remove()


def _round_input(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    first, *rest = given
    return (rounded_to_uint8(first) if module.training else first, *rest)
