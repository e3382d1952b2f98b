"""Batch norms made part of the layers before them, for inference."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from workers.students.blocks.convolution import ConvNorm
from workers.students.blocks.frontend import Frontend
from workers.students.blocks.linear import LinearNorm

N = TypeVar("N", bound=nn.Module)


@torch.no_grad()
def fold_norms(network: N) -> N:
    """A copy for inference, its batch norms part of the layers before them."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if isinstance(module, LinearNorm | ConvNorm | Frontend):
            module.fold()
    return folded
