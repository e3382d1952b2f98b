"""The same filter banks in numpy, for devices without kaldi-native-fbank.

Differs from it by about 1e-4 (order of summation) and takes another time, so that whoever uses
this says so. Definitions: Kaldi, feat/feature-window.cc and feat/mel-computations.cc.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from workers.data.features import N_MELS, SAMPLE_RATE_HZ, n_frames_of

_FRAME, _SHIFT, _FFT = 400, 160, 512
_LOW_HZ, _HIGH_HZ = 20.0, SAMPLE_RATE_HZ / 2 - 400.0
_PREEMPHASIS = 0.97


def fbank_numpy(samples: np.ndarray) -> np.ndarray:
    """Log-mel features float32 [n_frames, 80] of float32 samples in [-1, 1] at 16 kHz."""
    n_frames = n_frames_of(len(samples))
    start = (_SHIFT - _FRAME) // 2
    positions = start + np.arange(n_frames)[:, None] * _SHIFT + np.arange(_FRAME)
    frames = np.asarray(samples, np.float32)[_mirrored(positions, len(samples))]
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    windowed = (frames - _PREEMPHASIS * before) * _window()
    power = np.abs(np.fft.rfft(windowed, _FFT)) ** 2
    energy = power[:, :-1] @ _mel_banks().T
    return np.log(np.maximum(energy, np.finfo(np.float32).eps)).astype(np.float32)


def _mirrored(positions: np.ndarray, n: int) -> np.ndarray:
    """Beyond its ends a signal goes on as its own mirror image."""
    inside = positions % (2 * n)
    return np.where(inside < n, inside, 2 * n - 1 - inside)


@cache
def _window() -> np.ndarray:
    """Povey: a Hann window to the power of 0.85."""
    return np.hanning(_FRAME) ** 0.85


def _mel_edges() -> np.ndarray:
    low, high = _mel(_LOW_HZ), _mel(_HIGH_HZ)
    edges: np.ndarray = low + (high - low) / (N_MELS + 1) * np.arange(N_MELS + 2)
    return edges


def mel_edges_hz() -> np.ndarray:
    """float64 [82]: bin i reaches from edge i to edge i + 2 and is highest at i + 1."""
    hz: np.ndarray = 700.0 * np.expm1(_mel_edges() / 1127.0)
    return hz


@cache
def _mel_banks() -> np.ndarray:
    """float64 [80, 256]: triangles evenly spaced on the mel scale."""
    edges = _mel_edges()
    mels = _mel(np.arange(_FFT // 2) * SAMPLE_RATE_HZ / _FFT)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (mels - left) / (centre - left), (right - mels) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def _mel(hz: float | np.ndarray) -> float | np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)
