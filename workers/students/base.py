"""The contract of a student family's network.

A family is a record in `spaces/families/` and a module with a class `Network` that it names.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spaces.families import Dims
from workers.data.corpus import Corpus
from workers.students.blocks.lengths import shared_out
from workers.students.chunks import Chunks, cut, hearing_in, joined
from workers.students.narrow import keep_units


class Output(NamedTuple):
    """What a network makes of a batch. T' is the subsampled number of frames."""

    logits: Tensor  # float32 [N, T', V]
    lengths: Tensor  # int64 [N]
    hidden: Tensor  # float32 [N, T', C]: what the head reads
    intermediate: Tensor | None  # float32 [N, T', V]: logits halfway; only while training
    halfway: Tensor | None = None  # float32 [N, T', C of it]: the stream at half the depth
    own_loss: Tensor | None = None  # what the family adds to the loss; only while training


class Targets(NamedTuple):
    """Transcripts of a batch: token ids int64 [sum of lengths], lengths int64 [N]."""

    ids: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Slice:
    """Where the units of a group lie in one tensor.

    Along `axis` stand `blocks` blocks (the gates of an LSTM, the directions of its input), each
    of all units, each unit `width` entries wide (the size of a head).
    """

    tensor: str
    axis: int = 0
    blocks: int = 1
    width: int = 1


@dataclass(frozen=True)
class Group:
    """Units that can only be removed together, everywhere they occur."""

    size: int
    slices: tuple[Slice, ...]


class Normaliser(nn.Module):
    """The part of a network that holds the mean and variance of the training features, float32
    [mels] each, and applies them: runtimes feed raw log-mels."""

    mean: Tensor
    inv_std: Tensor

    def normalise(self, features: Tensor) -> Tensor:
        """float32 [N, T, mels] with mean 0 and variance 1."""
        return (features - self.mean) * self.inv_std


class Student(nn.Module):
    """A network of one family: declares what everybody else may touch.

    Its weights are found by name; equal dims give equal names and shapes. Padding never changes
    an utterance's output in evaluation mode. Parameters named in `training_only` are read while
    training and left out of an export.
    """

    dims: Dims
    frontend: Normaliser
    head: nn.Linear
    training_only: tuple[str, ...] = ()
    reads_targets: bool = False  # whether `forward` takes Targets as well, while training
    chunks: Chunks | None = None  # in which it hears; None: utterances as a whole

    def __call__(self, features: Tensor, lengths: Tensor, *targets: Any) -> Output:
        """As `forward`, in chunks where it hears so."""
        if self.chunks is None:
            output: Output = super().__call__(features, lengths, *targets)
            return output
        chunks, rate = self.chunks, self.dims.contract.subsampling_factor
        windows, spoken, n_windows = cut(features, lengths, chunks, rate)
        with hearing_in(self, chunks, n_windows):
            output = super().__call__(windows, spoken, *targets)
        n_frames = -(-features.shape[1] // rate)
        return joined(output, shared_out(lengths, rate), chunks, n_windows, n_frames)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        """Normalised features float32 [N, T, mels], lengths int64 [N]."""
        raise NotImplementedError

    def groups(self) -> list[Group]:
        """What structured pruning may remove, sized as the dims say. Same order and number for all
        dims of the same depth, so that a pruned network's groups pair with its parent's."""
        raise NotImplementedError

    def sized_groups(self) -> list[Group]:
        """The same with the units that there are, where pruning left other widths."""
        groups, widths = self.groups(), self.dims.widths
        if not widths:
            return groups
        pairs = zip(groups, widths, strict=True)
        return [replace(group, size=size) for group, size in pairs]

    def normalise(self, features: Tensor) -> Tensor:
        """Raw log-mels as `forward` takes them."""
        return self.frontend.normalise(features)


def build(dims: Dims, vocabulary: int) -> Student:
    """An untrained network that writes `vocabulary` symbols."""
    module = importlib.import_module(dims.network)
    network: Student = module.Network(dims, vocabulary)
    network.chunks = None if dims.streaming is None else Chunks.of(dims.streaming)
    if dims.widths:
        first = [torch.arange(width) for width in dims.widths]
        keep_units(network, network.groups(), first)
    return network


def untrained_student(dims: Dims, corpus: Corpus) -> Student:
    """An untrained network with the tokens and the normalisation of a corpus."""
    network = build(dims, len(corpus.symbols))
    network.frontend.mean.copy_(torch.from_numpy(corpus.mean))
    network.frontend.inv_std.copy_(torch.from_numpy(corpus.inv_std))
    return network
