"""What a network costs to run, counted: multiply-accumulates and parameters."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from workers.data.features import FRAMES_PER_SECOND, N_MELS
from workers.students.layers import fold_norms

_SECONDS = 4


def macs_per_second(network: nn.Module) -> float:
    """Multiply-accumulates for one second of audio, averaged over an utterance of four.

    Counted by torch's own counter with oneDNN off, so that recurrent layers show their matrix
    products.
    """
    n_frames = _SECONDS * FRAMES_PER_SECOND
    with (
        warnings.catch_warnings(action="ignore"),  # of Intel GPUs that nobody asked about
        torch.backends.mkldnn.flags(enabled=False),
        torch.inference_mode(),
        FlopCounterMode(display=False) as counter,
    ):
        fold_norms(network)(torch.zeros(1, n_frames, N_MELS), torch.tensor([n_frames]))
    return counter.get_total_flops() / 2 / _SECONDS


def n_parameters(network: nn.Module) -> int:
    """Trained parameters that the exported network holds."""
    return sum(p.numel() for name, p in network.named_parameters() if "halfway" not in name)
