"""Students cut out of a larger network of their family: they share its parameters.

The groups that pruning removes units from say what the axes of a tensor mean. Of every such axis a
slice keeps the first units (in each gate and direction), of a stack the first blocks, of a kernel
the centre. A tensor is shared only where its axes lie in the same groups: of a block without a
projection, or of a head that reads another layer, there is nothing to share. Batch norms share
their weights; their running statistics are a slice's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from spaces.families import Dims
from workers.students.base import Output, Student, Targets, build

_FIRST_KERNEL_AXIS = 2  # of a convolution's weight, after channels out and in


@dataclass(frozen=True)
class Extent:
    """What lies along one axis of a tensor: `blocks` blocks of `size` units, each `width` entries
    wide. `group` is the first place of the units' group; empty where they are in none."""

    size: int
    group: str = ""
    blocks: int = 1
    width: int = 1
    is_kernel: bool = False

    @property
    def meaning(self) -> object:
        """Equal where two axes may share their entries, however many there are."""
        if self.group:
            return self.group, self.blocks
        return ("kernel", self.size % 2) if self.is_kernel else self.size

    def cut(self, tensor: Tensor, axis: int, smaller: Extent) -> Tensor:
        """The entries of an axis that a smaller network has of it."""
        if self == smaller:
            return tensor
        if self.is_kernel:
            return tensor.narrow(axis, (self.size - smaller.size) // 2, smaller.size)
        if self.blocks == 1 and self.width == smaller.width:
            return tensor.narrow(axis, 0, smaller.size * smaller.width)
        units = tensor.unflatten(axis, (self.blocks, self.size, self.width))
        units = units.narrow(axis + 1, 0, smaller.size).narrow(axis + 2, 0, smaller.width)
        return units.flatten(axis, axis + 2)


@dataclass(frozen=True)
class Role:
    """What a tensor is to its network, whatever its size."""

    name: str
    axes: tuple[object, ...]


@dataclass(frozen=True)
class Piece:
    """A tensor and what lies along its axes."""

    tensor: Tensor
    extents: tuple[Extent, ...]

    def role(self, name: str) -> Role:
        return Role(name, tuple(extent.meaning for extent in self.extents))

    def holds(self, smaller: Piece) -> bool:
        """Whether a smaller tensor of the same role lies within this one."""
        pairs = zip(self.extents, smaller.extents, strict=True)
        return all(a.size >= b.size and a.width >= b.width for a, b in pairs)

    def cut(self, smaller: Piece) -> Tensor:
        """What a smaller tensor of the same role is of this one."""
        tensor = self.tensor
        for axis, (extent, kept) in enumerate(zip(self.extents, smaller.extents, strict=True)):
            tensor = extent.cut(tensor, axis, kept)
        return tensor


@dataclass(frozen=True)
class NetworkSlice:
    """A student and what of it is shared, by the names of its tensors: views, through which
    gradients reach the large network. The rest is the student's own."""

    network: Student
    shared: Mapping[str, Tensor]

    def __call__(self, features: Tensor, lengths: Tensor, *targets: Targets) -> Output:
        """As the network would, with the shared parameters as they are now."""
        output: Output = torch.func.functional_call(
            self.network, dict(self.shared), (features, lengths, *targets)
        )
        return output

    @property
    def reads_targets(self) -> bool:
        return self.network.reads_targets

    @property
    def share(self) -> float:
        """The share of the student's parameters that are shared."""
        sizes = {name: p.numel() for name, p in self.network.named_parameters()}
        return sum(n for name, n in sizes.items() if name in self.shared) / sum(sizes.values())

    @torch.no_grad()
    def materialised(self) -> Student:
        """The student with copies of what was shared; it shares nothing from then on."""
        state = self.network.state_dict()
        for name, view in self.shared.items():
            state[name].copy_(view)
        return self.network


def pieces_of(network: Student) -> dict[str, Piece]:
    """Every tensor of a network that a checkpoint holds, by name."""
    grouped: dict[tuple[str, int], Extent] = {}
    for group in network.sized_groups():
        first = group.slices[0]
        for s in group.slices:
            grouped[s.tensor, s.axis] = Extent(
                group.size, f"{first.tensor}.{first.axis}", s.blocks, s.width
            )
    convolutions = [n for n, m in network.named_modules() if isinstance(m, _ConvNd)]
    kernels = {f"{name}.weight" for name in convolutions}
    # without `keep_vars` tensors would come detached, and no gradient through them
    return {
        name: Piece(
            tensor,
            tuple(
                grouped.get((name, axis))
                or Extent(size, is_kernel=name in kernels and axis >= _FIRST_KERNEL_AXIS)
                for axis, size in enumerate(tensor.shape)
            ),
        )
        for name, tensor in network.state_dict(keep_vars=True).items()
    }


def by_role(pieces: Mapping[str, Piece]) -> dict[Role, Piece]:
    """Pieces by what they are to their network."""
    return {piece.role(name): piece for name, piece in pieces.items()}


def slice_of(network: Student, dims: Dims) -> NetworkSlice:
    """The student of these dimensions within a larger network of its family."""
    return sliced(by_role(pieces_of(network)), dims, network.head.out_features, network.training)


def sliced(
    large: Mapping[Role, Piece], dims: Dims, vocabulary: int, is_training: bool
) -> NetworkSlice:
    """The student of these dimensions, sharing what there is of it in `large`.

    What is not there keeps its initialisation. Random numbers are left as they were.
    """
    with torch.random.fork_rng(devices=[]):
        network = build(dims, vocabulary).train(is_training)
    network.to(next(iter(large.values())).tensor.device)
    shared: dict[str, Tensor] = {}
    for name, piece in pieces_of(network).items():
        source = large.get(piece.role(name))
        if source is None or not source.holds(piece):
            continue
        if isinstance(piece.tensor, nn.Parameter):
            shared[name] = source.cut(piece)
        else:
            piece.tensor.copy_(source.cut(piece))
    return NetworkSlice(network, shared)
