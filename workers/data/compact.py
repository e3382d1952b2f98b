"""Features in 8 bits of the plain audio; other speeds and noise are made of them when a batch is
loaded.

Of 1,000 hours that is 29 GB, where float32 of three speeds is 346. Log-mel energies of samples in
[-1, 1] lie between -16 (the smallest that Kaldi gives) and some 12; steps of an eighth are a
hundredth of what they vary by.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from workers.data.features import N_MELS, SAMPLE_RATE_HZ
from workers.data.features_numpy import fbank_numpy, mel_edges_hz
from workers.data.sources import Augmentation

_LEAST, _STEPS = -16.0, 8.0  # steps a unit of log energy


def as_u8(features: np.ndarray) -> np.ndarray:
    """uint8 of float32 features."""
    scaled = np.rint((features - _LEAST) * _STEPS)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def as_f32(stored: np.ndarray) -> np.ndarray:
    """float32 of what `as_u8` made."""
    features = stored.astype(np.float32)
    features *= np.float32(1 / _STEPS)
    features += np.float32(_LEAST)
    return features


def n_frames_at(n_frames: int, speed: float) -> int:
    """Frames of audio at another speed."""
    return max(1, round(n_frames / speed))


def derived(plain: np.ndarray, augmentation: Augmentation, seed: tuple[int, int]) -> np.ndarray:
    """float32 [n_frames_at(…), 80] of plain features: at another speed, then with white noise."""
    speed, noise_db = augmentation
    features = plain if speed == 1.0 else _at_speed(plain, speed)
    if noise_db is None:
        return features
    return _with_noise(features, noise_db, *_shares(seed))


def _shares(seed: tuple[int, int]) -> tuple[float, float]:
    """Two numbers from 0 to 1, the same for the same seed; a generator takes 30 times as long."""
    digest = hashlib.blake2b(repr(seed).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4]) / 2**32, int.from_bytes(digest[4:]) / 2**32


def _at_speed(features: np.ndarray, speed: float) -> np.ndarray:
    """As if the audio were resampled: frames are that much nearer, and what was heard in a bin is
    heard that much higher. Both are interpolated between neighbours."""
    n = n_frames_at(len(features), speed)
    low, share = _between((np.arange(n) + 0.5) * speed - 0.5, len(features))
    moved = features[low]
    moved += share[:, None] * (features[np.minimum(low + 1, len(features) - 1)] - moved)
    warped: np.ndarray = moved @ _warp(speed)
    return warped


def _between(places: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The entry below each place, and the share of the next one."""
    inside = np.clip(places, 0, n - 1)
    low = inside.astype(np.int64)
    return low, (inside - low).astype(np.float32)


@cache
def _warp(speed: float) -> np.ndarray:
    """float32 [80, 80]: from bins as they were to bins as they are heard at a speed. Beyond the
    highest bin of the audio the highest stands in."""
    centres = mel_edges_hz()[1:-1]
    low, share = _between(np.interp(centres / speed, centres, np.arange(N_MELS)), N_MELS)
    warp = np.zeros((N_MELS, N_MELS), np.float32)
    bins = np.arange(N_MELS)
    np.add.at(warp, (low, bins), 1 - share)
    np.add.at(warp, (np.minimum(low + 1, N_MELS - 1), bins), share)
    return warp


def _with_noise(
    features: np.ndarray, noise_db: tuple[float, float], loudness: float, place: float
) -> np.ndarray:
    """Energies of speech and of white noise add up; the noise's vary from frame to frame as they
    do in `_unit_noise`, of which a stretch is taken."""
    noise, mean = _unit_noise()
    energies = np.exp(features)
    power = float(energies.sum()) / len(features) / mean
    low, high = noise_db
    level = np.float32(power / 10 ** ((low + loudness * (high - low)) / 10))
    first = int(place * len(noise))
    for begin in range(0, len(features), len(noise)):  # a stretch of it, and again from its start
        some = energies[begin : begin + len(noise)]
        at_end = len(noise) - first
        some[:at_end] += noise[first:][: len(some)] * level
        some[at_end:] += noise[: max(0, len(some) - at_end)] * level
    louder: np.ndarray = np.log(energies, out=energies)
    return louder


@cache
def _unit_noise() -> tuple[np.ndarray, float]:
    """Energies float32 [1000, 80] of white noise of power 1, and the mean of a frame's sum."""
    samples = np.random.default_rng(0).standard_normal(10 * SAMPLE_RATE_HZ)
    energies = np.exp(fbank_numpy(samples.astype(np.float32)))
    return energies, float(energies.sum(1).mean())
