"""From recordings to the features of each augmented copy of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import soxr

from spaces.front_end import USUAL, FrontEnd
from workers.data.audio import read_audio
from workers.data.features import SAMPLE_RATE_HZ, fbank
from workers.errors import DataFault, MissingExtra

SOURCES = "sources.json"
Augmentation = tuple[float, tuple[float, float] | None]  # speed, range of noise in dB


class Source(NamedTuple):
    """A recording, or a part of one; its digest seeds the noise that is added."""

    audio: str
    offset_s: float
    duration_s: float | None
    digest: str


class Hearing(NamedTuple):
    """What is made of a recording before its features are computed."""

    augmentations: list[Augmentation]
    denoise: bool = False


def features_of(
    sources: Iterable[Source],
    hearing: Hearing,
    front_end: FrontEnd = USUAL,
    *,
    n_threads: int | None = None,
    is_checked: bool = False,
) -> Iterator[list[np.ndarray]]:
    """float32 [n_frames, mels] of each copy of each recording, in their order.

    Args:
        n_threads: at once; by default as many as there are cores.
        is_checked: whether a recording that was changed since it was listed is an error.

    Raises:
        MissingExtra: naming the extra that takes noise away.
        DataFault: for a recording that cannot be read, or was changed.
    """
    denoise = denoiser() if hearing.denoise else None

    def of_one(source: Source) -> list[np.ndarray]:
        samples = read_audio(source.audio, source.offset_s, source.duration_s)
        if is_checked and hashlib.sha256(samples.tobytes()).hexdigest() != source.digest:
            raise DataFault(f"{source.audio}: was changed since the data was prepared")
        if denoise is not None:
            samples = denoise(samples)
        rng = np.random.default_rng(int(source.digest[:16], 16))
        copies = (_augmented(samples, speed, noise, rng) for speed, noise in hearing.augmentations)
        return [fbank(at_rate_of(front_end, copy), front_end) for copy in copies]

    with ThreadPoolExecutor(n_threads or os.cpu_count()) as pool:
        yield from pool.map(of_one, sources)


def _augmented(
    samples: np.ndarray,
    speed: float,
    noise_db: tuple[float, float] | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Another speed, then white noise."""
    samples = perturbed(samples, speed)
    if noise_db is not None:
        power = float(np.mean(samples**2)) / 10 ** (rng.uniform(*noise_db) / 10)
        samples = samples + rng.standard_normal(len(samples)) * np.sqrt(power)
    return np.asarray(samples, np.float32)


def perturbed(samples: np.ndarray, speed: float) -> np.ndarray:
    """Speed perturbation by resampling (Ko et al., Interspeech 2015)."""
    if speed == 1.0:
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ), np.float32)


def at_rate_of(front_end: FrontEnd, samples: np.ndarray) -> np.ndarray:
    """Samples of 16 kHz as a front end takes them."""
    rate_hz = front_end.sample_rate_hz
    if rate_hz == SAMPLE_RATE_HZ:
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ, rate_hz), np.float32)


def denoiser() -> Callable[[np.ndarray], np.ndarray]:
    """Takes noise away from samples float32 [n] at 16 kHz.

    Raises:
        MissingExtra: naming the extra that does.
    """
    try:
        import noisereduce
    except ModuleNotFoundError as error:
        raise MissingExtra("data.denoise", "denoise") from error
    return lambda samples: np.asarray(
        noisereduce.reduce_noise(y=samples, sr=SAMPLE_RATE_HZ), np.float32
    )
