"""A speaker heard live: text grows as samples come, whatever pieces they come in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from workers.backends.windows import Windows
from workers.data.features import fbank
from workers.live import Listener
from workers.probe.live import heard_live, speech_begins_s

RATE = 16_000
SYMBOLS = ("<blk>", "▁a", "b", "c")


class Loudness:
    """A model that writes how loud it is; how many windows it has heard goes through."""

    def __init__(self, window: int = 40, shift: int = 32) -> None:
        self.windows = Windows(window, shift, (np.zeros(1, np.float32),), (0,))
        self.heard: list[np.ndarray] = []

    def step(self, windows, state):
        assert windows.shape[1:] == (self.windows.window, 80)
        self.heard.append(windows[0])
        loud = windows[0, : self.windows.shift].reshape(8, -1).mean(1)
        chosen = np.digitize(loud, [-12.0, -9.0, -7.0])
        return np.eye(4, dtype=np.float32)[chosen][None], (state[0] + 1,)


@pytest.fixture
def speech():
    rng = np.random.default_rng(0)
    loudness = np.repeat(rng.uniform(0, 0.3, 20) ** 3, RATE // 10)
    return (rng.standard_normal(len(loudness)) * loudness).astype(np.float32)


def listen(model, pieces):
    listener = Listener(model.windows, fbank, SYMBOLS)
    said, texts = [], []
    for piece in [*pieces, None]:
        listener.finish() if piece is None else listener.accept(piece)
        while (window := listener.next_window()) is not None:
            log_probs, state = model.step(window[None], listener.state)
            said += listener.take(log_probs[0], state)
            texts.append(listener.text)
    assert listener.is_done
    return listener, said, texts


@pytest.mark.parametrize("n", [1, 159, 160, 1600, 7777, 10**6])
def test_pieces_of_any_length_are_heard_alike(speech, n):
    if n == 1:
        speech = speech[:4000]
    whole, cut = Loudness(), Loudness()
    expected, *_ = listen(whole, [speech])
    heard, *_ = listen(cut, [speech[i : i + n] for i in range(0, len(speech), n)])
    assert heard.text == expected.text != ""
    np.testing.assert_allclose(cut.heard, whole.heard, atol=1e-4)


def test_windows_are_those_of_the_whole_utterance(speech):
    model = Loudness()
    listen(model, [speech])
    silent = np.concatenate([speech, np.zeros(RATE, np.float32)])
    features = fbank(silent)
    for i, window in enumerate(model.heard):
        np.testing.assert_allclose(window, features[i * 32 : i * 32 + 40], atol=1e-4)


def test_text_only_grows_and_says_when(speech):
    _, said, texts = listen(Loudness(), np.array_split(speech, 9))
    for shorter, longer in itertools.pairwise(texts):
        assert longer.startswith(shorter)
    times = [s.end_s for s in said]
    assert times == sorted(times)
    assert 0 < times[0] <= times[-1] <= len(speech) / RATE + 0.5


def test_what_was_heard_is_forgotten(speech):
    listener, *_ = listen(Loudness(), [speech] * 30)
    assert len(listener._samples) < 2 * RATE, "a minute was heard"


def test_nothing_at_all_is_silence():
    listener, said, _ = listen(Loudness(), [])
    assert (listener.text, said) == ("", [])


def test_times_are_taken_at_full_and_at_real_speed(speech):
    half_s = speech[: RATE // 2]
    times = heard_live(Loudness(), fbank, SYMBOLS, [half_s, half_s], at_real_speed=True)
    assert times.chunk_s == pytest.approx(0.32)
    assert len(times.chunk_ms) == 2 * -(-(50 + 40) // 32)
    assert len(times.final_ms) == len(times.first_token_ms) == 2
    # a chunk has to be over, and what is looked ahead after it, before any of it can be read
    assert min(times.first_token_ms) > 400 - 1000 * speech_begins_s(half_s)
    assert min(times.emission_delay_ms) > 0
    at_full = heard_live(Loudness(), fbank, SYMBOLS, [half_s], at_real_speed=False)
    assert at_full.first_token_ms == at_full.final_ms == []


def test_speech_begins_where_it_gets_loud():
    samples = np.concatenate([np.full(RATE // 2, 1e-4), np.full(RATE, 0.1)]).astype(np.float32)
    assert speech_begins_s(samples) == pytest.approx(0.5)
