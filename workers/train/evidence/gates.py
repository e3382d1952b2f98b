"""Gates on the units of a network, trained with it: how far each is open is what it is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from workers.compress.pruning.gates import gate_name
from workers.students.base import Group, Student

# The hard concrete distribution of Louizos et al., arXiv 1712.01312.
_BETA, _GAMMA, _ZETA = 2 / 3, -0.1, 1.1
_OPEN_AT_FIRST = 2.0  # log-odds
_CHARGE = 2.0  # in the loss, of the squared distance of the open share from the wanted one


class Gates:
    """Stand-ins in which every unit is weighed by a gate where it is read.

    Args:
        wanted: the share of the units of each group that is to stay.
    """

    def __init__(self, network: Student, wanted: tuple[float, ...]) -> None:
        self._groups: list[Group] = network.sized_groups()
        self._wanted = wanted
        self._odds = {
            gate_name(group): nn.Parameter(torch.full((group.size,), _OPEN_AT_FIRST))
            for group in self._groups
        }

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return self._odds

    def to(self, device: torch.device) -> None:
        for odds in self._odds.values():
            odds.data = odds.data.to(device)

    def tensors(self, network: Student) -> dict[str, Tensor]:
        """Random gates, on the tensors that read the units of each group."""
        return self._gated(network, {n: _drawn(odds) for n, odds in self._odds.items()})

    def loss(self) -> Tensor:
        """What open gates cost: nothing where as many are open as are to stay."""
        missed = torch.zeros((), device=next(iter(self._odds.values())).device)
        for group, wanted in zip(self._groups, self._wanted, strict=True):
            odds = self._odds[gate_name(group)]
            open_share = torch.sigmoid(odds - _BETA * math.log(-_GAMMA / _ZETA)).mean()
            missed = missed + (open_share - wanted).square()
        return _CHARGE * missed / len(self._groups)

    @torch.no_grad()
    def settle(self, network: Student) -> dict[str, Tensor]:
        """Make the gates part of the network; the log-odds of each, by the name of its group."""
        self.to(network.head.weight.device)
        certain = {name: _stretched(torch.sigmoid(odds)) for name, odds in self._odds.items()}
        network.load_state_dict({**network.state_dict(), **self._gated(network, certain)})
        return {name: odds.detach().clone() for name, odds in self._odds.items()}

    def _gated(self, network: Student, gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        named = dict(network.named_parameters())
        gated: dict[str, Tensor] = {}
        for group in self._groups:
            gate = gates[gate_name(group)]
            for slice_ in group.slices:
                if slice_.axis == 0:  # where units are written
                    continue
                tensor = gated.get(slice_.tensor, named[slice_.tensor])
                each = gate.repeat_interleave(slice_.width).repeat(slice_.blocks)
                shape = [1] * tensor.ndim
                shape[slice_.axis] = -1
                gated[slice_.tensor] = tensor * each.view(shape)
        return gated


def _drawn(odds: Tensor) -> Tensor:
    noise = torch.rand_like(odds).clamp(1e-6, 1 - 1e-6)
    return _stretched(torch.sigmoid((torch.logit(noise) + odds) / _BETA))


def _stretched(share: Tensor) -> Tensor:
    return (share * (_ZETA - _GAMMA) + _GAMMA).clamp(0, 1)
