"""Audio of any kind is read as 16 kHz mono; what is not speech is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from workers.data.audio import read_audio
from workers.errors import DataFault

SECONDS = 1.5
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "ulaw.wav": ("WAV", "ULAW"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "sph": ("NIST", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
}


def _sound(rate_hz: int, seconds: float = SECONDS) -> np.ndarray:
    """float [n]: a few tones below 3 kHz that come and go, alike at every rate."""
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    tones = [np.sin(2 * np.pi * f * t) * np.sin(np.pi * k * t) for k, f in ((2, 220), (3, 900))]
    return 0.2 * np.sum(tones, axis=0)


def _write(folder: Path, ending: str, rate_hz: int, channels: int = 1) -> Path:
    path = folder / f"sound.{ending}"
    kind, subtype = FORMATS[ending]
    sound = _sound(rate_hz)
    columns = np.stack([sound * (1.0 if c == 0 else 0.5) for c in range(channels)], axis=1)
    soundfile.write(path, columns, rate_hz, format=kind, subtype=subtype)
    return path


def _similar(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the middle, where no encoder fades in."""
    middle = slice(2000, len(b) - 2000)
    return float(np.corrcoef(a[middle], b[middle])[0, 1])


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (8_000, 1), (44_100, 2)])
def test_every_format_is_read_as_16_khz_mono(
    ending: str, rate_hz: int, channels: int, tmp_path: Path
) -> None:
    samples = read_audio(_write(tmp_path, ending, rate_hz, channels))
    assert samples.dtype == np.float32
    assert samples.shape == (round(SECONDS * 16_000),)
    assert _similar(samples, _sound(16_000)) > 0.99


@pytest.mark.parametrize("ending", ["wav", "flac", "sph"])
def test_channels_are_averaged(ending: str, tmp_path: Path) -> None:
    samples = read_audio(_write(tmp_path, ending, 16_000, channels=2))
    np.testing.assert_allclose(samples, 0.75 * _sound(16_000), atol=2e-4)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_stretch_is_that_part_of_the_whole(ending: str, tmp_path: Path) -> None:
    path = _write(tmp_path, ending, 16_000)
    whole = read_audio(path)
    stretch = read_audio(path, offset_s=0.25, duration_s=1.0)
    assert stretch.shape == (16_000,)
    tolerance = 0.02 if ending == "mp3" else 1e-6  # mp3 frames lean on those before them
    np.testing.assert_allclose(stretch[4000:], whole[8000:20_000], atol=tolerance)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
def test_a_stretch_is_counted_in_seconds_at_any_rate(rate_hz: int, tmp_path: Path) -> None:
    path = _write(tmp_path, "wav", rate_hz)
    assert read_audio(path, duration_s=0.5).shape == (8000,)
    assert read_audio(path, offset_s=1.0).shape == (8000,)
    assert read_audio(path, offset_s=1.0, duration_s=9.0).shape == (8000,)
    stretch = read_audio(path, offset_s=0.5, duration_s=0.9)
    assert _similar(stretch, _sound(16_000)[8000:][: len(stretch)]) > 0.99


def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = _write(tmp_path, "wav", 16_000)
    content = bytearray(path.read_bytes())
    content[4:8] = b"\xff\xff\xff\xff"  # what a writer leaves that could not go back
    path.write_bytes(content)
    assert len(read_audio(path)) == round(SECONDS * 16_000)


# refusals


def _refusal(path: Path, **stretch: float) -> str:
    with pytest.raises(DataFault) as caught:
        read_audio(path, **stretch)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def _wav(path: Path, samples: np.ndarray) -> Path:
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    return path


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert _refusal(tmp_path / "none.wav") == "no such file"
    assert _refusal(tmp_path) == "is a folder, not an audio file"
    assert _refusal(tmp_path / "empty.wav") == "is an empty file"


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("one two three\n" * 99)
    assert re.fullmatch(r"is not audio that can be read \(.+\)", _refusal(path))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, "wav", 16_000)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-4000])
    assert _refusal(path) == f"is truncated ({size - 4000:,} bytes of {size:,})"


def test_shortened_sphere_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    head = b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    path.write_bytes(head.ljust(4096, b" "))
    assert _refusal(path) == "is SPHERE compressed by shorten; unpack it with `w_decode` first"


def test_what_holds_no_speech_is_refused(tmp_path: Path) -> None:
    sound = _sound(16_000)
    assert _refusal(_wav(tmp_path / "a.wav", sound[:0])) == "holds no samples"
    assert _refusal(_wav(tmp_path / "b.wav", sound[:320])) == "lasts 20 ms; too short"
    assert _refusal(_wav(tmp_path / "c.wav", sound * 1e-4)) == "is silent (peak below -70 dB)"
    holed = np.where(np.arange(len(sound)) == 99, np.nan, sound)
    said = _refusal(_wav(tmp_path / "d.wav", holed))
    assert said == "holds samples that are not finite (NaN or infinity)"


def test_a_stretch_beyond_the_end_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, "flac", 16_000)
    assert _refusal(path, offset_s=1.5) == "offset 1.5 s lies after its end"
    assert _refusal(path, offset_s=99.0) == "offset 99 s lies after its end"
    assert _refusal(path, duration_s=0.01) == "lasts 10 ms; too short"
