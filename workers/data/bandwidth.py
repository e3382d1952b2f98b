"""Up to which frequency a corpus holds sound.

Where recordings were made at 8 kHz, the band above 4 kHz holds what a resampler left there:
nothing by one, faint images by another. Normalised by the tiny variance of that band, the two
differ by 7 to 20 standard deviations (measured with soxr, Kaldi's and SciPy's resamplers); a
student that looks at it is right with one client only. So it does not look: those bins are zero
after normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spaces.front_end import USUAL, FrontEnd
from workers.data.features import N_MELS
from workers.data.features_numpy import mel_edges_hz

# Natural logarithms; the floor is -15.9. A bin that holds sound varies by more than 2.
_EMPTY_MEAN, _EMPTY_STD = -13.0, 1.5
_USED = 0.9  # of the band: nearer to its end resamplers differ by more than 0.2 standard deviations


def bandwidth_hz(features: Sequence[np.ndarray]) -> float | None:
    """Where the sound of a corpus ends; None where it reaches the last mel bin.

    Args:
        features: log-mels float32 [n_frames, 80] of some utterances.
    """
    frames = np.concatenate(features)
    empty = (frames.mean(0) < _EMPTY_MEAN) & (frames.std(0) < _EMPTY_STD)
    n_empty = int(np.argmin(empty[::-1])) if not empty.all() else 0
    return float(mel_edges_hz()[N_MELS - n_empty]) if n_empty else None


def used_bins(bandwidth: float | None, front_end: FrontEnd = USUAL) -> np.ndarray:
    """bool [mels]: the mel bins that students look at, by the bandwidth in Hz."""
    if bandwidth is None or front_end.is_samples:
        return np.ones(front_end.mels, bool)
    used: np.ndarray = mel_edges_hz(front_end)[2:] <= _USED * bandwidth
    return used
