"""Several transcripts are made one by vote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.teachers.rover import rover


@pytest.mark.parametrize(
    ("texts", "together"),
    [
        (["a b c", "a b c", "a x c"], "a b c"),
        (["a x c", "a b c", "a b c"], "a b c"),
        (["a b c", "a c", "a b c"], "a b c"),
        (["a c", "a b c", "a c"], "a c"),
        (["a b c", "x b c", "x b d"], "x b c"),
        (["", "a b", "a b"], "a b"),
        (["", "", "a b"], ""),
        (["a b c d", "b c d e", "a b c d e"], "a b c d e"),
        (["one two three", "one too three", "won two three"], "one two three"),
        (["a", "b", "c"], "a"),
        (["a b"], "a b"),
    ],
)
def test_what_most_have_at_a_place_is_written(texts: list[str], together: str) -> None:
    assert rover(texts) == together


words = st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join)


@given(words, st.integers(1, 5))
def test_teachers_who_agree_are_not_changed(text: str, n: int) -> None:
    assert rover([text] * n) == text


@given(words, words)
def test_a_majority_of_equal_transcripts_wins(text: str, other: str) -> None:
    assert rover([text, other, text]) == text
    assert rover([other, text, text]) == text
