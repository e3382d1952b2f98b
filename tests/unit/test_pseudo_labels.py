"""What is wrong with a transcript that has no reference shows in itself."""

from __future__ import annotations

import pytest

from workers.data.text import make_tokenizer
from workers.data.utterances import Utterance
from workers.teachers.pseudo_labels import Bounds, counted, in_a_row_of, why_not

TEXTS = ["turn on the light", "call one two three four", "set volume to ten percent", "no no no"]
TOKENIZER = make_tokenizer("characters", TEXTS, None)


def utterance(text: str, seconds: float = 2.0) -> Utterance:
    return Utterance(text, (), seconds, "a.wav", 0.0, None, ((0, round(seconds * 100)),))


BOUNDS = Bounds.of([utterance(text) for text in TEXTS])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("turn on the box", "in other letters"),
        ("turn on the light", None),
        ("", "empty"),
        ("  ", "empty"),
        ("no", "too long or short"),
        ("no no no", None),
        ("no no no no", "repeating itself"),
        ("one two one two one two one two", "repeating itself"),
        ("turn on the light and then call one two three four five six", "in other letters"),
        ("call one two three four one two three four one two three four", "too long or short"),
        ("включи", "in other letters"),
    ],
)
def test_a_transcript_is_learnt_from_if_nothing_is_wrong_with_it(text: str, reason) -> None:
    assert why_not(text, utterance(text), BOUNDS, TOKENIZER, 4) == reason


def test_a_transcript_has_to_fit_the_frames_of_the_students() -> None:
    wide = Bounds(0.0, 1e9, 99)
    text = "turn on the light"
    assert why_not(text, utterance(text, 0.8), wide, TOKENIZER, 4) is None
    assert why_not(text, utterance(text, 0.6), wide, TOKENIZER, 4) == "too long or short"


@pytest.mark.parametrize(
    ("text", "times"),
    [("", 0), ("a", 1), ("a b", 1), ("a a b", 2), ("b a a a", 3), ("a b a b c a b", 2)],
)
def test_what_stands_in_a_row_is_counted(text: str, times: int) -> None:
    assert in_a_row_of(text) == times


def test_reasons_are_counted_the_most_frequent_first() -> None:
    assert list(counted(["empty", "too long or short", "empty"]).items()) == [
        ("empty", 2),
        ("too long or short", 1),
    ]
