"""Reads audio of any rate and channel count as 16 kHz mono, and refuses what is not speech."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from spaces.files import why_not_a_file
from workers.data.features import SAMPLE_RATE_HZ
from workers.data.remote import is_file_of_its_own, opened
from workers.errors import DataFault

_SILENCE_PEAK = 10 ** (-70 / 20)
_UNKNOWN_SIZES = (0, 0xFFFFFFFF, 0x7FFFFFFF)  # what streaming writers leave in a WAV header
_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 4_000, 384_000
_BLOCK_VALUES = 1 << 20  # read at a time, of all channels
_UNKNOWN_FRAMES = 1 << 62  # of a FLAC from a pipe libsndfile says 2^63 - 1
_NOTHING = np.empty(0, np.float32)


@dataclass(frozen=True)
class DurationLimit:
    """The longest stretch that is read, and what sets it."""

    seconds: float
    name: str


AT_ONCE = DurationLimit(3600.0, "what is read at once")
_ANY_LENGTH = DurationLimit(float("inf"), "any length")


@dataclass(frozen=True)
class Recording:
    """A recording that is open: `duration_s` by its header, `blocks` of samples, float32 [n] at 16
    kHz, a few seconds at a time, which can be read once."""

    duration_s: float
    blocks: Iterator[np.ndarray]
    path: str | Path

    def whole(self) -> np.ndarray:
        """All samples, checked as `read_audio` checks them."""
        return _checked(np.concatenate([_NOTHING, *self.blocks]), self.path)


@contextmanager
def open_audio(
    path: str | Path,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    limit: DurationLimit = _ANY_LENGTH,
) -> Iterator[Recording]:
    """A recording, or a stretch of it, wherever it lies.

    WAV, FLAC, OGG, MP3, AIFF and NIST SPHERE, as libsndfile reads them. Rate and length are
    checked before anything is decoded; memory is taken for what a file holds, not for what its
    header says.

    Raises:
        DataFault: missing, empty, truncated, longer than `limit`, not audio; also while it is read.
    """
    file_of: object = opened(str(path)) if not is_file_of_its_own(str(path)) else None
    path = Path(path) if file_of is None else path
    if isinstance(path, Path):
        _check_file(path)
        file_of = os.fsencode(path)
    try:
        with soundfile.SoundFile(file_of) as file:
            n_wanted = _go_to(file, path, offset_s, duration_s, limit)
            blocks = _as_16k(_blocks(file, path, n_wanted), file.samplerate)
            yield Recording(n_wanted / file.samplerate, blocks, path)
    except soundfile.LibsndfileError as error:
        reason = str(error).rpartition(": ")[2].rstrip(".")
        raise DataFault(f"{path}: is not audio that can be read ({reason})") from error
    except TypeError as error:  # what soundfile says of .raw
        raise DataFault(f"{path}: is raw samples without a rate; write it as WAV") from error


def read_audio(
    path: str | Path,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    limit: DurationLimit = AT_ONCE,
) -> np.ndarray:
    """Samples of one file or a stretch of it.

    Returns:
        float32 [n_samples] in [-1, 1], 16 kHz; channels averaged.

    Raises:
        DataFault: as `open_audio`, and silent, too short, or not finite.
    """
    with open_audio(path, offset_s, duration_s, limit) as recording:
        return recording.whole()


def _check_file(path: Path) -> None:
    if why := why_not_a_file(path, "an audio file"):
        raise DataFault(f"{path}: {why}")
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


def _go_to(
    file: soundfile.SoundFile,
    path: str | Path,
    offset_s: float,
    duration_s: float | None,
    limit: DurationLimit,
) -> int:
    """Go to the stretch that is wanted; how many samples of each channel it has by the header."""
    rate_hz = file.samplerate
    if not _LOWEST_RATE_HZ <= rate_hz <= _HIGHEST_RATE_HZ:
        raise DataFault(
            f"{path}: has {rate_hz:,} samples a second; {_LOWEST_RATE_HZ:,} to "
            f"{_HIGHEST_RATE_HZ:,} are read"
        )
    if file.frames >= _UNKNOWN_FRAMES:
        raise DataFault(f"{path}: does not say how long it is, as if from a pipe; write it as WAV")
    start = round(offset_s * rate_hz)
    if start >= file.frames > 0 and start > 0:
        raise DataFault(f"{path}: offset {offset_s:g} s lies after its end")
    n_wanted: int = file.frames - start
    if duration_s is not None:
        n_wanted = min(n_wanted, round(duration_s * rate_hz))
    if n_wanted > limit.seconds * rate_hz:
        raise DataFault(
            f"{path}: lasts {n_wanted / rate_hz:.1f} s, above {limit.name} ({limit.seconds:g} s)"
        )
    file.seek(start)
    return n_wanted


def _blocks(file: soundfile.SoundFile, path: str | Path, n_wanted: int) -> Iterator[np.ndarray]:
    """What follows, its channels averaged, block by block: as much as is really there."""
    n_block = max(1, _BLOCK_VALUES // file.channels)
    n_read = 0
    while n_read < n_wanted:
        block: np.ndarray = file.read(min(n_block, n_wanted - n_read), "float32", always_2d=True)
        if not len(block):
            raise DataFault(f"{path}: is truncated ({n_read:,} of {n_wanted:,} samples)")
        n_read += len(block)
        yield block.mean(axis=1)


def _as_16k(blocks: Iterator[np.ndarray], rate_hz: int) -> Iterator[np.ndarray]:
    if rate_hz == SAMPLE_RATE_HZ:
        yield from blocks
        return
    resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(_NOTHING, last=True)


def _checked(samples: np.ndarray, path: str | Path) -> np.ndarray:
    if not len(samples):
        raise DataFault(f"{path}: holds no samples")
    if not np.isfinite(samples).all():
        raise DataFault(f"{path}: holds samples that are not finite (NaN or infinity)")
    if len(samples) < SAMPLE_RATE_HZ // 20:
        raise DataFault(f"{path}: lasts {len(samples) / SAMPLE_RATE_HZ * 1000:.0f} ms; too short")
    if np.abs(samples).max() < _SILENCE_PEAK:
        raise DataFault(f"{path}: is silent (peak below -70 dB)")
    return np.ascontiguousarray(samples, np.float32)
