"""What a network costs to run, counted: multiply-accumulates and parameters."""

from __future__ import annotations

import warnings

import torch
from torch.utils.flop_counter import FlopCounterMode

from workers.data.features import FRAMES_PER_SECOND
from workers.results import Reading
from workers.students.base import Student
from workers.students.blocks.fold import fold_norms

_SECONDS = 4


def macs_per_second(network: Student) -> float:
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
        fold_norms(network)(
            torch.zeros(1, n_frames, network.dims.front_end.mels), torch.tensor([n_frames])
        )
    return counter.get_total_flops() / 2 / _SECONDS


def n_parameters(network: Student) -> int:
    """Trained parameters that the exported network holds."""
    dropped = network.training_only
    return sum(
        p.numel() for n, p in network.named_parameters() if n.partition(".")[0] not in dropped
    )


def cost_readings(network: Student) -> list[Reading]:
    """What a network costs, by metric name."""
    return [
        Reading(metric="macs", value=macs_per_second(network)),
        Reading(metric="params", value=n_parameters(network)),
    ]
