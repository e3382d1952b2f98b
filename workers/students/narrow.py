"""A network made as narrow as pruning left it, where its dimensions do not say how narrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

if TYPE_CHECKING:
    from workers.students.base import Group, Slice, Student


def entries(slice_: Slice, size: int, units: Tensor) -> Tensor:
    """Indices along the axis of a slice that belong to these units."""
    every = torch.arange(slice_.blocks * size * slice_.width)
    return every.view(slice_.blocks, size, slice_.width)[:, units].flatten()


@torch.no_grad()
def keep_units(network: Student, groups: Sequence[Group], kept: Sequence[Tensor]) -> None:
    """Only these units of each group stay, in place; the modules are told their new sizes.

    Args:
        groups: those of the network, sized as it is now.
        kept: int64 [units that stay] of each group.
    """
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for group, units in zip(groups, kept, strict=True):
        if len(units) == group.size:
            continue
        for slice_ in group.slices:
            index = entries(slice_, group.size, units)
            tensors[slice_.tensor] = tensors[slice_.tensor].index_select(slice_.axis, index)
    for name, tensor in tensors.items():
        path, _, last = name.rpartition(".")
        owner = network.get_submodule(path)
        if getattr(owner, last) is not tensor:
            is_parameter = last in owner._parameters
            setattr(owner, last, nn.Parameter(tensor) if is_parameter else tensor)
    for module in network.modules():
        _tell_size(module)


def _tell_size(module: nn.Module) -> None:
    """What a module says of its size is what its weights say."""
    match module:
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case nn.LayerNorm():
            module.normalized_shape = tuple(module.weight.shape)
        case nn.Embedding():
            module.num_embeddings, module.embedding_dim = module.weight.shape
        case _BatchNorm():
            module.num_features = len(module.weight)
        case _ConvNd():
            is_depthwise = module.groups > 1
            module.out_channels = module.weight.shape[0]
            module.groups = module.out_channels if is_depthwise else 1
            module.in_channels = module.groups * module.weight.shape[1]
        case nn.RNNBase():
            named = dict(module.named_parameters())
            module.hidden_size = named["weight_hh_l0"].shape[1]
            module.input_size = named["weight_ih_l0"].shape[1]
            module.flatten_parameters()
