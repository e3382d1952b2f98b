"""Small files that say or unpack to more than any memory holds."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile

MOST_SAMPLES = (1 << 36) - 1  # that the header of a FLAC can claim
_TOTAL_SAMPLES_AT = 21  # byte of the FLAC header whose lower half begins their number


def long_flac(path: Path, minutes: int = 20) -> Path:
    """Next to nothing for a long time: some kilobytes a million samples."""
    quiet = np.zeros(60 * 16_000, np.int16)
    quiet[0] = 3000
    with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write(quiet)
    return path


def claiming(path: Path, sound: np.ndarray, n_samples: int) -> Path:
    """A short FLAC whose header says that it has so many samples; 0 is: nobody knows."""
    soundfile.write(path, sound, 16_000, format="FLAC")
    content = bytearray(path.read_bytes())
    content[_TOTAL_SAMPLES_AT] = content[_TOTAL_SAMPLES_AT] & 0xF0 | n_samples >> 32
    content[_TOTAL_SAMPLES_AT + 1 : _TOTAL_SAMPLES_AT + 5] = struct.pack(
        ">I", n_samples & 0xFFFFFFFF
    )
    path.write_bytes(content)
    return path


def doubling(line: str, n_lines: int = 30) -> str:
    """YAML in which every line stands for the one before it twice."""
    lines = (line.format(this=i, last=i - 1) for i in range(1, n_lines))
    return "a0: &a0 {k: 1}\n" + "".join(f"{text}\n" for text in lines)
