"""What a header says of an audio file is checked before memory is taken for it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bombs import MOST_SAMPLES, claiming, long_flac
from lists import noise

from workers.data.audio import DurationLimit, read_audio
from workers.errors import DataFault

LIMIT = DurationLimit(40, "data.max_duration_s")
_MOST_BYTES = 50_000_000


@pytest.fixture
def peak_bytes() -> Iterator[Callable[[], int]]:
    """How much memory Python and NumPy held at most since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def _refusal(path: Path, limit: DurationLimit = LIMIT, **stretch: float) -> str:
    with pytest.raises(DataFault) as caught:
        read_audio(path, limit=limit, **stretch)
    return str(caught.value).removeprefix(f"{path}: ")


def test_a_small_file_of_many_samples_is_refused_before_it_is_decoded(
    tmp_path: Path, peak_bytes: Callable[[], int]
) -> None:
    path = long_flac(tmp_path / "bomb.flac")
    assert path.stat().st_size < 100_000
    assert _refusal(path) == "lasts 1200.0 s, above data.max_duration_s (40 s)"
    assert peak_bytes() < _MOST_BYTES


def test_a_header_of_more_samples_than_any_memory_is_refused(
    tmp_path: Path, peak_bytes: Callable[[], int]
) -> None:
    path = claiming(tmp_path / "claims.flac", noise(1, 0), MOST_SAMPLES)
    assert _refusal(path) == "lasts 4294967.3 s, above data.max_duration_s (40 s)"
    with pytest.raises(DataFault, match=r"lasts 4294967.3 s, above what is read at once \(3600 s"):
        read_audio(path)
    assert peak_bytes() < _MOST_BYTES


def test_no_memory_is_taken_for_samples_that_a_header_only_claims(
    tmp_path: Path, peak_bytes: Callable[[], int]
) -> None:
    path = claiming(tmp_path / "claims.flac", noise(1, 0), 3000 * 16_000)
    with pytest.raises(DataFault, match=r"claims\.flac: is "):
        read_audio(path)
    assert peak_bytes() < _MOST_BYTES


def test_a_file_that_does_not_say_how_long_it_is_is_refused(tmp_path: Path) -> None:
    path = claiming(tmp_path / "piped.flac", noise(1, 0), 0)
    assert _refusal(path) == "does not say how long it is, as if from a pipe; write it as WAV"


def test_a_stretch_of_a_long_file_is_read_as_it_is(
    tmp_path: Path, peak_bytes: Callable[[], int]
) -> None:
    path = long_flac(tmp_path / "long.flac")
    assert len(read_audio(path, 60, 2.5, LIMIT)) == 40_000
    assert _refusal(path, offset_s=60, duration_s=41).startswith("lasts 41.0 s, above data.max_")
    assert peak_bytes() < _MOST_BYTES


@pytest.mark.parametrize("rate_hz", [1, 3_999, 384_001])
def test_a_rate_at_which_nobody_records_speech_is_refused(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "odd.wav"
    soundfile.write(path, noise(0.1, 0), rate_hz)
    rates = "4,000 to 384,000 are read"
    assert _refusal(path) == f"has {rate_hz:,} samples a second; {rates}"


@pytest.mark.parametrize("rate_hz", [4_000, 384_000])
def test_the_lowest_and_the_highest_rate_are_read(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.sin(np.arange(rate_hz) * 700 / rate_hz), rate_hz)
    assert len(read_audio(path)) == 16_000


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_what_is_read_block_by_block_is_what_is_read_at_once(tmp_path: Path, rate_hz: int) -> None:
    soxr = pytest.importorskip("soxr")
    path = tmp_path / "sound.wav"
    sound = np.random.default_rng(0).standard_normal((rate_hz * 70, 2)).astype(np.float32) * 0.1
    soundfile.write(path, sound, rate_hz, subtype="FLOAT")
    whole = sound.mean(axis=1)
    expected = whole if rate_hz == 16_000 else soxr.resample(whole, rate_hz, 16_000)
    assert np.array_equal(read_audio(path), expected)
