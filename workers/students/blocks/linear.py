"""Linear layers and batch normalisation over [N, T, C]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workers.students.base import Slice

_BN_TENSORS = ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")


class Linear(nn.Linear):
    """A Linear that returns float32 also under autocast."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).float()


class BatchNorm(nn.Module):
    """Batch normalisation over the channels of [N, T, C].

    Padded frames enter the statistics of a training batch; batches are bucketed by length, so
    they are few. At inference an utterance is never touched by another's padding.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return self.norm(x.flatten(0, 1)).view(x.shape)
        scale, shift = self.scale_and_shift()
        return x * scale + shift

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """The affine map ([C], [C]) that this layer is at inference."""
        norm = self.norm
        assert norm.running_var is not None and norm.running_mean is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return scale, norm.bias - norm.running_mean * scale

    @staticmethod
    def slices(name: str) -> list[Slice]:
        return [Slice(f"{name}.{tensor}") for tensor in _BN_TENSORS]


class LinearNorm(nn.Module):
    """Linear then batch normalisation; at inference one Linear with the norm folded in."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear = Linear(n_in, n_out, bias=False)
        self.bn = BatchNorm(n_out)
        self.folded: nn.Linear | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.folded is not None:
            folded: Tensor = self.folded(x)
            return folded
        return self.bn(self.linear(x))

    def fold(self) -> None:
        """Make the norm part of the linear map; for good, before an export."""
        scale, shift = self.bn.scale_and_shift()
        self.folded = _linear(self.linear.weight * scale[:, None], shift)

    @staticmethod
    def reads(name: str) -> list[Slice]:
        return [Slice(f"{name}.linear.weight", axis=1)]

    @staticmethod
    def writes(name: str) -> list[Slice]:
        return [Slice(f"{name}.linear.weight"), *BatchNorm.slices(f"{name}.bn")]


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0]).requires_grad_(False)
    made.weight.copy_(weight)
    made.bias.copy_(bias)
    return made
