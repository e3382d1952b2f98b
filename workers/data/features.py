"""Kaldi filter banks, exactly as sherpa-onnx computes them for zipformer CTC models.

sherpa-onnx links kaldi-native-fbank; calling the same library is the surest way to hand
a student the numbers it will see on the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import kaldi_native_fbank as knf

SAMPLE_RATE_HZ = 16_000
N_MELS = 80
FRAME_SHIFT_S = 0.010
FRAMES_PER_SECOND = round(1 / FRAME_SHIFT_S)


def fbank_options() -> knf.FbankOptions:
    """80 log-mel bins, 20 Hz to Nyquist - 400 Hz, povey window, no dither, edges kept."""
    import kaldi_native_fbank as knf  # a device may do without: see `fbank_numpy`

    options = knf.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE_HZ
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = N_MELS
    options.mel_opts.low_freq = 20
    options.mel_opts.high_freq = -400
    options.energy_floor = 0.0
    return options


def fbank(samples: np.ndarray) -> np.ndarray:
    """Log-mel features of one utterance.

    Args:
        samples: float32 [n_samples] in [-1, 1] at 16 kHz.

    Returns:
        float32 [n_frames, 80], 100 frames per second, not normalised.
    """
    import kaldi_native_fbank as knf

    extractor = knf.OnlineFbank(fbank_options())
    # The binding takes a sequence: a list is read a quarter faster than an array.
    extractor.accept_waveform(SAMPLE_RATE_HZ, np.asarray(samples, np.float32).tolist())
    extractor.input_finished()
    n_frames = extractor.num_frames_ready
    features = np.empty((n_frames, N_MELS), np.float32)
    for i in range(n_frames):
        features[i] = extractor.get_frame(i)
    return features


def n_frames_of(n_samples: int) -> int:
    """Frames that `fbank` gives for this many samples (snip_edges=False rounds to nearest)."""
    shift = round(SAMPLE_RATE_HZ * FRAME_SHIFT_S)
    return (n_samples + shift // 2) // shift
