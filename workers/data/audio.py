"""Reads audio of any rate and channel count as 16 kHz mono, and refuses what is not speech."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import soundfile
import soxr

from workers.data.features import SAMPLE_RATE_HZ
from workers.errors import DataFault

_SILENCE_PEAK = 10 ** (-70 / 20)
_UNKNOWN_SIZES = (0, 0xFFFFFFFF, 0x7FFFFFFF)  # what streaming writers leave in a WAV header


def read_audio(
    path: str | Path, offset_s: float = 0.0, duration_s: float | None = None
) -> np.ndarray:
    """Samples of one file or a stretch of it.

    WAV, FLAC, OGG, MP3, AIFF and NIST SPHERE, as libsndfile reads them.

    Returns:
        float32 [n_samples] in [-1, 1], 16 kHz; channels averaged.

    Raises:
        DataFault: missing, empty, truncated, silent, too short, not audio, or not finite.
    """
    path = Path(path)
    _check_file(path)
    try:
        with soundfile.SoundFile(path) as file:
            samples = _read_stretch(file, path, offset_s, duration_s)
            rate = file.samplerate
    except soundfile.LibsndfileError as error:
        reason = str(error).rpartition(": ")[2].rstrip(".")
        raise DataFault(f"{path}: is not audio that can be read ({reason})") from error
    except TypeError as error:  # what soundfile says of .raw
        raise DataFault(f"{path}: is raw samples without a rate; write it as WAV") from error
    return _checked(_as_16k(samples.mean(axis=1), rate), path)


def _check_file(path: Path) -> None:
    if os.path.isdir(path):
        raise DataFault(f"{path}: is a folder, not an audio file")
    if not os.path.exists(path):
        raise DataFault(f"{path}: no such file")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise DataFault(f"{path}: cannot be read ({error.strerror})") from error
    if size == 0:
        raise DataFault(f"{path}: is an empty file")
    if head[:4] == b"RIFF" and len(head) >= 8:
        said = struct.unpack("<I", head[4:8])[0]
        if said not in _UNKNOWN_SIZES and said + 8 > size + 1:
            raise DataFault(f"{path}: is truncated ({size:,} bytes of {said + 8:,})")
    if head[:7] == b"NIST_1A" and b"shorten" in head:
        raise DataFault(f"{path}: is SPHERE compressed by shorten; unpack it with `w_decode` first")


def _read_stretch(
    file: soundfile.SoundFile, path: Path, offset_s: float, duration_s: float | None
) -> np.ndarray:
    start = round(offset_s * file.samplerate)
    if start >= file.frames > 0 and start > 0:
        raise DataFault(f"{path}: offset {offset_s:g} s lies after its end")
    wanted = file.frames - start
    if duration_s is not None:
        wanted = min(wanted, round(duration_s * file.samplerate))
    file.seek(start)
    samples: np.ndarray = file.read(wanted, dtype="float32", always_2d=True)
    if len(samples) < wanted:
        raise DataFault(f"{path}: is truncated ({len(samples):,} of {wanted:,} samples)")
    return samples


def _as_16k(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    if rate_hz == SAMPLE_RATE_HZ or not len(samples):
        return samples
    return np.asarray(soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ), np.float32)


def _checked(samples: np.ndarray, path: Path) -> np.ndarray:
    if not len(samples):
        raise DataFault(f"{path}: holds no samples")
    if not np.isfinite(samples).all():
        raise DataFault(f"{path}: holds samples that are not finite (NaN or infinity)")
    if len(samples) < SAMPLE_RATE_HZ // 20:
        raise DataFault(f"{path}: lasts {len(samples) / SAMPLE_RATE_HZ * 1000:.0f} ms; too short")
    if np.abs(samples).max() < _SILENCE_PEAK:
        raise DataFault(f"{path}: is silent (peak below -70 dB)")
    return np.ascontiguousarray(samples, np.float32)
