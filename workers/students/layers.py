"""Building blocks shared by the student families.

Activations are [N, T, C] throughout: a depthwise convolution is then a channels-last Conv2d
(several times faster to train on a CPU than Conv1d) and a pointwise convolution is a Linear,
which exports as MatMul, the operator that dynamic int8 speeds up. Under `torch.autocast` the
matrix products run in bfloat16 and everything else stays in float32.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from workers.data.features import N_MELS
from workers.students.base import Group, Slice

_BN_TENSORS = ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")


def frame_mask(lengths: Tensor, n_frames: int | Tensor) -> Tensor:
    """float32 [N, T, 1]: 1 on frames of the utterance, 0 on padding."""
    positions = torch.arange(n_frames, device=lengths.device)  # type: ignore[arg-type]
    return (positions[None, :] < lengths[:, None]).unsqueeze(-1).to(torch.float32)


def halved(lengths: Tensor) -> Tensor:
    """Lengths after one stride-2 convolution with half padding: ceil(n / 2)."""
    return torch.div(lengths + 1, 2, rounding_mode="floor")


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


class DepthwiseConv(nn.Module):
    """Depthwise convolution over time of [N, T, C], half padding."""

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels,
            channels,
            (1, kernel),
            stride=(1, stride),
            padding=(0, kernel // 2),
            groups=channels,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            y = self.conv(x.transpose(1, 2).unsqueeze(2))
        return y.squeeze(2).transpose(1, 2)

    @staticmethod
    def slices(name: str) -> list[Slice]:
        return [Slice(f"{name}.conv.weight")]


class SeparableBlock(nn.Module):
    """Depthwise then pointwise convolution, batch-normalised, with a residual (QuartzNet,
    arXiv 1910.10261); with `hidden`, an inverted bottleneck of that width (MobileNetV2,
    arXiv 1801.04381)."""

    def __init__(self, channels: int, kernel: int, dropout: float, hidden: int | None) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(channels, kernel)
        self.pointwise = LinearNorm(channels, hidden or channels)
        self.project = LinearNorm(hidden, channels) if hidden else None
        self.hidden = hidden
        self.dropout = dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = F.relu(self.pointwise(self.depthwise(x * mask)))
        if self.project is not None:
            y = self.project(y)
        return x + F.dropout(y, self.dropout, self.training)

    def stream_slices(self, name: str) -> list[Slice]:
        """Where the residual stream occurs in this block."""
        out = "project" if self.project is not None else "pointwise"
        return [
            *DepthwiseConv.slices(f"{name}.depthwise"),
            *LinearNorm.reads(f"{name}.pointwise"),
            *LinearNorm.writes(f"{name}.{out}"),
        ]

    def inner_groups(self, name: str) -> list[Group]:
        if self.hidden is None:
            return []
        slices = [*LinearNorm.writes(f"{name}.pointwise"), *LinearNorm.reads(f"{name}.project")]
        return [Group(self.hidden, tuple(slices))]


class Frontend(nn.Module):
    """Raw log-mels [N, T, 80] to [N, ceil(ceil(T / 2) / 2), channels].

    The mean and variance of the training data are part of the network: runtimes feed raw
    log-mels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.mean: Tensor
        self.inv_std: Tensor
        self.register_buffer("mean", torch.zeros(N_MELS))
        self.register_buffer("inv_std", torch.ones(N_MELS))
        self.conv = nn.Conv2d(N_MELS, channels, (1, 5), stride=(1, 2), padding=(0, 2), bias=False)
        self.bn = BatchNorm(channels)
        self.depthwise = DepthwiseConv(channels, 5, stride=2)
        self.pointwise = LinearNorm(channels, channels)
        self.folded: nn.Conv2d | None = None

    def normalise(self, features: Tensor) -> Tensor:
        return (features - self.mean) * self.inv_std

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Takes normalised features."""
        x = features * frame_mask(lengths, features.shape[1])
        y = self._strided(x.transpose(1, 2).unsqueeze(2))
        lengths = halved(lengths)
        y = F.relu(y) * frame_mask(lengths, y.shape[1])
        y = F.relu(self.pointwise(self.depthwise(y)))
        return y, halved(lengths)

    def _strided(self, x: Tensor) -> Tensor:
        if self.folded is not None:
            folded: Tensor = self.folded(x)
            return folded.squeeze(2).transpose(1, 2)
        return self.bn(self.conv(x).float().squeeze(2).transpose(1, 2))

    def fold(self) -> None:
        """Make the norm part of the first convolution; for good, before an export."""
        scale, shift = self.bn.scale_and_shift()
        self.folded = nn.Conv2d(
            N_MELS, self.channels, (1, 5), stride=(1, 2), padding=(0, 2)
        ).requires_grad_(False)
        self.folded.weight.copy_(self.conv.weight * scale[:, None, None, None])
        assert self.folded.bias is not None
        self.folded.bias.copy_(shift)

    def groups(self, name: str) -> list[Group]:
        slices = [
            Slice(f"{name}.conv.weight"),
            *BatchNorm.slices(f"{name}.bn"),
            *DepthwiseConv.slices(f"{name}.depthwise"),
            *LinearNorm.reads(f"{name}.pointwise"),
        ]
        return [Group(self.channels, tuple(slices))]

    @staticmethod
    def writes(name: str) -> list[Slice]:
        return LinearNorm.writes(f"{name}.pointwise")


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0]).requires_grad_(False)
    made.weight.copy_(weight)
    made.bias.copy_(bias)
    return made


@torch.no_grad()
def fold_norms(network: nn.Module) -> nn.Module:
    """A copy for inference, its batch norms part of the layers before them."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if isinstance(module, LinearNorm | Frontend):
            module.fold()
    return folded


class RecurrentLayer(nn.Module):
    """One LSTM or GRU layer, in one or both directions, over [N, T, C]."""

    def __init__(self, cell: str, n_in: int, hidden: int, bidirectional: bool) -> None:
        super().__init__()
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.rnn = kind(n_in, hidden, batch_first=True, bidirectional=bidirectional)
        self.n_gates = 4 if cell == "lstm" else 3
        self.hidden, self.bidirectional = hidden, bidirectional

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        if not self.bidirectional:  # padding comes after the utterance and cannot reach it
            return self.rnn(x)[0].float()
        # The exported operator takes any order of lengths; torch wants them sorted or a sort.
        sorted_already = torch.onnx.is_in_onnx_export()
        packed = pack_padded_sequence(
            x, lengths.cpu(), batch_first=True, enforce_sorted=sorted_already
        )
        y, _ = pad_packed_sequence(
            self.rnn(packed)[0],
            batch_first=True,
            total_length=None if sorted_already else x.shape[1],
        )
        return y.float()

    @property
    def n_out(self) -> int:
        return self.hidden * (2 if self.bidirectional else 1)

    def _suffixes(self) -> tuple[str, ...]:
        return ("l0", "l0_reverse") if self.bidirectional else ("l0",)

    def reads(self, name: str, blocks: int = 1) -> list[Slice]:
        return [Slice(f"{name}.rnn.weight_ih_{s}", 1, blocks) for s in self._suffixes()]

    def writes(self, name: str) -> list[Slice]:
        """Rows of every gate, columns of the recurrence; both directions keep the same units."""
        out = []
        for s in self._suffixes():
            for tensor in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                out.append(Slice(f"{name}.rnn.{tensor}_{s}", 0, self.n_gates))
            out.append(Slice(f"{name}.rnn.weight_hh_{s}", 1))
        return out


class RecurrentStack(nn.Module):
    """Recurrent layers with dropout after each."""

    def __init__(
        self, cell: str, n_in: int, hidden: int, layers: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        width = hidden * (2 if bidirectional else 1)
        self.layers = nn.ModuleList(
            RecurrentLayer(cell, n_in if i == 0 else width, hidden, bidirectional)
            for i in range(layers)
        )
        self.dropout, self.n_out = dropout, width
        self.directions = 2 if bidirectional else 1
        self.hidden = hidden

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.dropout(layer(x, lengths), self.dropout, self.training)
        return x

    def reads(self, name: str) -> list[Slice]:
        return self.layers[0].reads(f"{name}.layers.0")  # type: ignore[operator,no-any-return]

    def groups(self, name: str, reader_of_last: str) -> list[Group]:
        """One group a layer; `reader_of_last` is the weight that reads the last layer."""
        out = []
        for i, layer in enumerate(self.layers):
            slices = list(layer.writes(f"{name}.layers.{i}"))  # type: ignore[operator]
            if i + 1 < len(self.layers):
                following = self.layers[i + 1]
                slices += following.reads(f"{name}.layers.{i + 1}", self.directions)  # type: ignore[operator]
            else:
                slices.append(Slice(reader_of_last, 1, self.directions))
            out.append(Group(self.hidden, tuple(slices)))
        return out
