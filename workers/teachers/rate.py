"""The frame rates of teachers and students."""

from __future__ import annotations

import numpy as np


def output_steps(n_frames: int, subsampling_factor: int) -> int:
    """Frames of a student's output, whose strided layers pad to whole steps: ceil(n / factor)."""
    return -(-n_frames // subsampling_factor)


def at_rate(rows: np.ndarray, n_steps: int) -> np.ndarray:
    """Rows [T, D] interpolated to [n_steps, D]; a teacher may have another frame rate."""
    if len(rows) == n_steps:
        return rows
    position = (np.arange(n_steps) + 0.5) * len(rows) / n_steps - 0.5
    low = np.clip(np.floor(position).astype(int), 0, len(rows) - 1)
    high = np.minimum(low + 1, len(rows) - 1)
    share = np.clip(position - low, 0, 1)[:, None]
    return (1 - share) * rows[low] + share * rows[high]
