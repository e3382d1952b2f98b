"""How the learning rate goes: warm-up, a flat stretch, a decay to zero.

Warmup-stable-decay (arXiv 2405.18392). The weights that ship are the mean of the last epochs'.
"""

from __future__ import annotations

import math

WARMUP_SHARE = 0.1
DECAY_SHARE = 0.4
AVERAGED_SHARE = 0.15


def learning_rate_at(share: float, peak: float) -> float:
    """Warm-up, flat, linear decay to zero; `share` of the steps are done."""
    return peak * min(1.0, share / WARMUP_SHARE, (1 - share) / DECAY_SHARE)


def first_averaged_epoch(epochs: int) -> int:
    """From which epoch on weights are averaged; at least the last is."""
    return min(epochs - 1, math.floor(epochs * (1 - AVERAGED_SHARE)))
