"""Features are Kaldi's: the numbers that a student will see on the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchaudio.compliance import kaldi

from spaces.front_end import FrontEnd
from workers.data.features import N_MELS, SAMPLE_RATE_HZ, fbank, n_frames_of
from workers.data.features_numpy import fbank_numpy


def _speech_like(n_samples: int, seed: int = 0) -> np.ndarray:
    """Noise that swells and falls, and a gliding tone."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_samples) / SAMPLE_RATE_HZ
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)
    tone = np.sin(2 * np.pi * (200 + 400 * t) * t)
    return (0.2 * swell * (tone + 0.3 * rng.standard_normal(n_samples))).astype(np.float32)


def _by_torchaudio(samples: np.ndarray) -> np.ndarray:
    features = kaldi.fbank(
        torch.from_numpy(samples)[None],
        sample_frequency=SAMPLE_RATE_HZ,
        num_mel_bins=N_MELS,
        low_freq=20.0,
        high_freq=-400.0,
        dither=0.0,
        energy_floor=0.0,
        snip_edges=False,
    )
    return features.numpy()


@pytest.mark.parametrize("n_samples", [800, 16_000, 16_079, 16_080, 40_123])
def test_features_agree_with_torchaudio(n_samples: int) -> None:
    samples = _speech_like(n_samples)
    features = fbank(samples)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, _by_torchaudio(samples), atol=1e-3)


def test_features_follow_the_sound() -> None:
    low, high = (
        0.3 * np.sin(2 * np.pi * f * np.arange(8000) / SAMPLE_RATE_HZ).astype(np.float32)
        for f in (300, 3000)
    )
    assert fbank(low)[25].argmax() < fbank(high)[25].argmax()
    difference = fbank(high)[5:45] - fbank(high / 2)[5:45]
    np.testing.assert_allclose(difference.max(axis=1), np.log(4.0), atol=1e-3)  # energy, not size


def test_silence_has_finite_features() -> None:
    assert np.isfinite(fbank(np.zeros(1600, np.float32))).all()


@given(st.integers(0, 40_000))
def test_the_number_of_frames_is_known_before_they_are_computed(n_samples: int) -> None:
    features = fbank(np.zeros(n_samples, np.float32))
    assert features.shape == (n_frames_of(n_samples), N_MELS)


@pytest.mark.parametrize("n_samples", [0, 79, 80, 81, 239, 240, 399, 400, 15_999, 16_000, 16_001])
def test_the_number_of_frames_is_right_at_every_edge(n_samples: int) -> None:
    assert len(fbank(np.zeros(n_samples, np.float32))) == n_frames_of(n_samples)


def test_a_second_has_a_hundred_frames() -> None:
    assert n_frames_of(SAMPLE_RATE_HZ) == 100


# the same in numpy, for devices without Kaldi's own


@given(n_samples=st.integers(0, 40_000), seed=st.integers(0, 9))
def test_numpy_computes_the_same_features_for_any_length(n_samples: int, seed: int) -> None:
    samples = _speech_like(n_samples, seed)
    features = fbank_numpy(samples)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, fbank(samples), atol=1e-3)


@pytest.mark.parametrize("n_samples", [0, 1, 79, 80, 81, 239, 240, 399, 400, 401, 560, 16_001])
def test_numpy_computes_the_same_features_at_every_edge(n_samples: int) -> None:
    samples = _speech_like(n_samples)
    np.testing.assert_allclose(fbank_numpy(samples), fbank(samples), atol=1e-3)


@pytest.mark.parametrize("mels", [40, 64])
@pytest.mark.parametrize("shift_ms", [10, 12.5, 15, 20])
@pytest.mark.parametrize("sample_rate_hz", [8000, 16_000])
def test_numpy_computes_the_same_features_for_any_front_end(
    mels: int, shift_ms: float, sample_rate_hz: int
) -> None:
    front_end = FrontEnd(mels, shift_ms, sample_rate_hz)
    for n_samples in (800, 16_001, 23_456):
        samples = _speech_like(n_samples)
        features = fbank_numpy(samples, front_end)
        assert features.shape == (n_frames_of(n_samples, front_end), mels)
        np.testing.assert_allclose(features, fbank(samples, front_end), atol=2e-3)


def test_a_wider_shift_gives_as_many_frames_each_the_nearest_window() -> None:
    samples = _speech_like(16_000)
    every_10, every_20 = fbank(samples), fbank(samples, FrontEnd(shift_ms=20))
    assert every_20.shape == every_10.shape
    np.testing.assert_array_equal(every_20[0::2], every_20[1::2])
    # a window in the middle of two frames says of both nearly what each says of itself
    assert np.abs(every_20 - every_10)[4:-4].mean() < np.abs(np.diff(every_10, 2, axis=0)).mean()


def test_frames_of_an_odd_shift_stay_with_their_sound() -> None:
    """13.9 ms is 222.4 samples, of which Kaldi takes 222: in twenty seconds 36 ms."""
    samples = np.zeros(20 * SAMPLE_RATE_HZ, np.float32)
    samples[-SAMPLE_RATE_HZ // 2 :] = _speech_like(SAMPLE_RATE_HZ // 2)
    begins = [
        int(np.argmax(fbank(samples, FrontEnd(shift_ms=shift)).mean(1) > -12.0))
        for shift in (10, 13.9)
    ]
    assert abs(begins[0] - begins[1]) <= 1


@pytest.mark.parametrize("code", ["", "40-10-16000", "80-12.5-8000"])
def test_a_front_end_is_told_by_the_name_of_a_corpus(code: str) -> None:
    front_end = FrontEnd.of_code(code)
    name = front_end.heard("0" * 32)
    assert FrontEnd.of_corpus(name) == ("0" * 32, front_end)
    assert front_end.heard(name) == name


@pytest.mark.parametrize(
    "code",
    ["40", "10-10-16000", "40-9-16000", "40-10-44100", "40-10-16000-1", "../../x", "4٠-10-16000"],
)
def test_what_is_no_front_end_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match=r"mels|shift|sample_rate|front end"):
        FrontEnd.of_code(code)


def test_numpy_computes_the_same_features_of_silence() -> None:
    silence = np.zeros(1600, np.float32)
    np.testing.assert_allclose(fbank_numpy(silence), fbank(silence), atol=1e-3)


def test_numpy_takes_a_constant_away_as_kaldi_does() -> None:
    samples = _speech_like(8000) + np.float32(0.3)
    np.testing.assert_allclose(fbank_numpy(samples), fbank(samples), atol=1e-3)
