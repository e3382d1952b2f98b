"""Hours of audio come as stretches of speech, at the times at which they were said."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.data.features import SAMPLE_RATE_HZ
from workers.data.speech_segments import LONGEST_S, Segment, speech_segments
from workers.data.text import decode, decode_words
from workers.transcript import FORMS, Word, text_of, written


def _voice(seconds: float) -> np.ndarray:
    """Something that the detector takes for a voice: a buzz with formants that swell."""
    t = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 25))
    return (0.15 * buzz * (1.2 + np.sin(2 * np.pi * 4 * t))).astype(np.float32)


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * SAMPLE_RATE_HZ), np.float32)


def _blocks(samples: np.ndarray, size: int = 100_003) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def _segments(*parts: np.ndarray) -> list[Segment]:
    return list(speech_segments(_blocks(np.concatenate(parts))))


def test_stretches_of_speech_are_given_where_they_were_said() -> None:
    found = _segments(_silence(3), _voice(2), _silence(2), _voice(1), _silence(1))
    starts = [segment.start_s for segment in found]
    lasts = [len(segment.samples) / SAMPLE_RATE_HZ for segment in found]
    assert starts == pytest.approx([3, 7], abs=0.25)
    assert lasts == pytest.approx([2, 1], abs=0.6)


def test_what_is_given_is_what_was_recorded_there() -> None:
    samples = np.concatenate([_silence(1.5), _voice(2), _silence(3), _voice(40), _silence(1)])
    for segment in speech_segments(_blocks(samples)):
        first = round(segment.start_s * SAMPLE_RATE_HZ)
        recorded = samples[first : first + len(segment.samples)]
        assert np.array_equal(segment.samples[: len(recorded)], recorded)


def test_speech_without_a_pause_is_cut_and_nothing_of_it_is_lost() -> None:
    found = _segments(_voice(70))
    assert all(len(s.samples) <= LONGEST_S * SAMPLE_RATE_HZ for s in found)
    ends = [s.start_s + len(s.samples) / SAMPLE_RATE_HZ for s in found]
    assert ends[:-1] == pytest.approx([s.start_s for s in found[1:]])
    assert ends[-1] == pytest.approx(70, abs=0.1)


def test_silence_and_nothing_are_no_speech() -> None:
    assert _segments(_silence(20)) == []
    assert list(speech_segments([])) == []


@given(st.integers(1, 50_000))
def test_it_does_not_matter_in_which_blocks_audio_is_read(size: int) -> None:
    samples = np.concatenate([_silence(1), _voice(1), _silence(1), _voice(0.5)])
    whole, pieces = (list(speech_segments(_blocks(samples, n))) for n in (len(samples), size))
    assert [s.start_s for s in whole] == [s.start_s for s in pieces]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(whole, pieces, strict=True))


# words


SYMBOLS = ("<blk>", "▁", "a", "b", "▁no", "de")


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        ([0, 2, 2, 0, 3, 1, 0, 2], [("ab", 1, 4), ("a", 7, 7)]),
        ([4, 5, 0, 4], [("node", 0, 1), ("no", 3, 3)]),
        ([2, 0, 2], [("aa", 0, 2)]),
        ([1, 1, 0, 0], []),
        ([], []),
    ],
)
def test_words_are_told_with_the_frames_in_which_they_were_written(
    ids: list[int], wanted: list[tuple[str, int, int]]
) -> None:
    found = decode_words(ids, SYMBOLS)
    assert [(w.text, w.first, w.last) for w in found] == wanted
    assert " ".join(w.text for w in found) == decode(ids, SYMBOLS)


WORDS = [
    Word("open", 0.5, 0.75),
    Word("the", 0.8, 0.9),
    Word("door", 1.0, 1.5),
    Word("now", 3661.25, 3662.0),
]


def test_a_transcript_is_written_in_every_form() -> None:
    said = {form: written(WORDS, form, "a.wav") for form in FORMS}
    assert said["text"] == "open the door now\n" == f"{text_of(WORDS)}\n"
    assert said["srt"] == (
        "1\n00:00:00,500 --> 00:00:01,500\nopen the door\n\n2\n01:01:01,250 --> 01:01:02,000\nnow\n"
    )
    assert said["vtt"].startswith("WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nopen the door\n\n")
    assert '"words": [{"text": "open", "start_s": 0.5, "end_s": 0.75}' in said["json"]


def test_a_cue_is_two_lines_and_six_seconds_at_most() -> None:
    many = [Word("abcdefgh", i * 0.5, i * 0.5 + 0.4) for i in range(40)]
    cues = written(many, "srt", "a").split("\n\n")
    assert len(cues) > 3
    assert all(len(cue.strip().split("\n")[2]) <= 84 for cue in cues)
    assert written([], "srt", "a") == ""
