"""Kaldi filter banks, exactly as sherpa-onnx computes them for zipformer CTC models.

sherpa-onnx links kaldi-native-fbank; calling the same library is the surest way to hand
a student the numbers it will see on the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spaces.front_end import USUAL, FrontEnd

if TYPE_CHECKING:
    import kaldi_native_fbank as knf

SAMPLE_RATE_HZ = USUAL.sample_rate_hz
N_MELS = USUAL.mels
FRAME_SHIFT_S = USUAL.shift_ms / 1000
FRAMES_PER_SECOND = round(1 / FRAME_SHIFT_S)


def fbank_options(front_end: FrontEnd = USUAL) -> knf.FbankOptions:
    """Log-mel bins from 20 Hz to Nyquist - 400 Hz, povey window, no dither, edges kept."""
    import kaldi_native_fbank as knf  # a device may do without: see `fbank_numpy`

    options = knf.FbankOptions()
    options.frame_opts.samp_freq = front_end.sample_rate_hz
    options.frame_opts.frame_shift_ms = front_end.shift_ms
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = front_end.mels
    options.mel_opts.low_freq = 20
    options.mel_opts.high_freq = -400
    options.energy_floor = 0.0
    return options


def fbank(samples: np.ndarray, front_end: FrontEnd = USUAL) -> np.ndarray:
    """Log-mel features of one utterance.

    Args:
        samples: float32 [n_samples] in [-1, 1] at the rate of the front end.

    Returns:
        float32 [n_frames, mels], 100 frames per second, not normalised; of a front end that
        leaves samples as they are, those of each frame.
    """
    if front_end.is_samples:
        return framed(samples)
    import kaldi_native_fbank as knf

    extractor = knf.OnlineFbank(fbank_options(front_end))
    # The binding takes a sequence: a list is read a quarter faster than an array.
    extractor.accept_waveform(front_end.sample_rate_hz, np.asarray(samples, np.float32).tolist())
    extractor.input_finished()
    n_frames = extractor.num_frames_ready
    features = np.empty((n_frames, front_end.mels), np.float32)
    for i in range(n_frames):
        features[i] = extractor.get_frame(i)
    return as_usual_frames(features, front_end, n_frames_of(len(samples), front_end))


def framed(samples: np.ndarray) -> np.ndarray:
    """Samples float32 [n] at 16 kHz as frames of 10 ms, [n_frames, 160]: of the last one what lies
    past the end is silence, and less than half a frame is left out."""
    frame = round(SAMPLE_RATE_HZ * FRAME_SHIFT_S)
    n_frames = n_frames_of(len(samples))
    frames = np.zeros(n_frames * frame, np.float32)
    heard = samples[: len(frames)]
    frames[: len(heard)] = heard
    return frames.reshape(n_frames, frame)


def n_frames_of(n_samples: int, front_end: FrontEnd = USUAL) -> int:
    """Frames that `fbank` gives for this many samples (snip_edges=False rounds to nearest)."""
    return _rounded(n_samples, samples_of(USUAL.shift_ms, front_end))


def n_windows_of(n_samples: int, front_end: FrontEnd) -> int:
    """Windows that are computed for them: as many, at the usual shift."""
    return _rounded(n_samples, samples_of(front_end.shift_ms, front_end))


def samples_of(milliseconds: float, front_end: FrontEnd) -> int:
    """As Kaldi counts them: what is no whole sample is left out."""
    return int(front_end.sample_rate_hz * 0.001 * milliseconds)


def _rounded(n_samples: int, shift: int) -> int:
    return (n_samples + shift // 2) // shift


def as_usual_frames(windows: np.ndarray, front_end: FrontEnd, n_frames: int) -> np.ndarray:
    """A frame for every 10 ms: the window whose middle is nearest.

    Args:
        windows: float32 [n_windows, mels], one each shift of the front end.
    """
    if front_end.shift_ms == USUAL.shift_ms or len(windows) == 0:
        return windows
    shift = samples_of(front_end.shift_ms, front_end)  # as it is computed, whole samples
    middles = (np.arange(n_frames) + 0.5) * samples_of(USUAL.shift_ms, front_end) / shift
    nearest = np.minimum(middles.astype(int), len(windows) - 1)
    nearest_windows: np.ndarray = windows[nearest]
    return nearest_windows
