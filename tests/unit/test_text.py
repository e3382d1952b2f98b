"""Texts become tokens and come back; tokens.txt is what sherpa-onnx reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.data.text import (
    BLANK,
    BLANK_ID,
    WORD_START,
    CharTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    Unencodable,
    WordTokenizer,
    decode,
    make_tokenizer,
    normalise,
    read_tokens,
    tokenizer_of,
    write_tokens,
)

TEXTS = ("one two three", "hello all of you", "turn the light on", "it's nine o'clock", "größe") * 3
KINDS = ("characters", "words", "bpe")


def _tokenizer(kind: str) -> Tokenizer:
    return make_tokenizer(kind, TEXTS, 48 if kind == "bpe" else None)


def _spelled(ids: list[int]) -> list[int]:
    """What a network says of these tokens: each held for two frames, a blank before the next."""
    return [i for token in ids for i in (token, token, BLANK_ID)]


# normalising


@pytest.mark.parametrize(
    ("text", "options", "wanted"),
    [
        ("  Hello\tWORLD\n", {}, "hello world"),
        ("Hello", {"lowercase": False}, "Hello"),
        ("gro\u0308ße", {}, "größe"),
        ("Yes, it's: «so»!", {"remove_punctuation": True}, "yes it's so"),
        ("a-b", {"remove_punctuation": True}, "a b"),
        ("a-b", {}, "a-b"),
        ("one\u2028two\u00a0three", {}, "one two three"),
        ("   ", {}, ""),
    ],
)
def test_a_transcript_is_normalised(text: str, options: dict[str, bool], wanted: str) -> None:
    assert normalise(text, **options) == wanted


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text, remove_punctuation=True)
    assert normalise(once, remove_punctuation=True) == once


# tokens


@pytest.mark.parametrize("kind", KINDS)
def test_the_blank_is_symbol_zero_and_no_symbol_is_given_twice(kind: str) -> None:
    symbols = _tokenizer(kind).symbols
    assert symbols[BLANK_ID] == BLANK
    assert len(set(symbols)) == len(symbols)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", sorted(set(TEXTS)))
def test_a_text_comes_back_from_its_tokens(kind: str, text: str) -> None:
    tokenizer = _tokenizer(kind)
    ids = tokenizer.encode(text)
    assert BLANK_ID not in ids
    assert decode(_spelled(ids), tokenizer.symbols) == text


@given(st.lists(st.text("abcdeéß'", min_size=1, max_size=8), min_size=1, max_size=6).map(" ".join))
def test_any_text_of_known_characters_comes_back(text: str) -> None:
    characters, words = CharTokenizer.of([text]), WordTokenizer.of([text])
    assert decode(_spelled(characters.encode(text)), characters.symbols) == text
    assert decode(_spelled(words.encode(text)), words.symbols) == text


def test_tokens_do_not_depend_on_the_order_of_the_texts() -> None:
    assert CharTokenizer.of(TEXTS).symbols == CharTokenizer.of(reversed(TEXTS)).symbols
    assert WordTokenizer.of(TEXTS).symbols == WordTokenizer.of(reversed(TEXTS)).symbols


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("characters", "one x", "character 'x' is not in the token set"),
        ("words", "one five", "word 'five' is not in the token set"),
        ("bpe", "one x", "character 'x' is not in the token set"),
    ],
)
def test_what_cannot_be_written_is_named(kind: str, text: str, message: str) -> None:
    with pytest.raises(Unencodable, match=f"^{message}$"):
        _tokenizer(kind).encode(text)


def test_more_pieces_than_the_texts_hold_are_refused() -> None:
    with pytest.raises(Unencodable, match=r"^no 5000 pieces can be made of these transcripts"):
        SentencePieceTokenizer.of(TEXTS, 5000)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokenizer_of_a_prepared_corpus_is_found_again(kind: str, tmp_path: Path) -> None:
    tokenizer = _tokenizer(kind)
    if isinstance(tokenizer, SentencePieceTokenizer):
        (tmp_path / "bpe.model").write_bytes(tokenizer.model)
    again = tokenizer_of(tmp_path, tokenizer.symbols)
    assert type(again) is type(tokenizer)
    assert again.symbols == tokenizer.symbols
    assert all(again.encode(text) == tokenizer.encode(text) for text in TEXTS)


# decoding


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([], ""),
        ([0, 0, 0], ""),
        ([2, 2, 2], "a"),
        ([2, 0, 2], "aa"),
        ([2, 2, 0, 0, 2, 3, 3], "aab"),
        ([1, 2, 1, 3, 1], "a b"),
        ([0, 2, 1, 1, 0, 3], "a b"),
    ],
)
def test_decoding_collapses_repeats_and_drops_blanks(ids: list[int], text: str) -> None:
    assert decode(ids, (BLANK, WORD_START, "a", "b")) == text


@given(st.lists(st.integers(0, 3), max_size=20))
def test_holding_every_token_longer_changes_no_text(ids: list[int]) -> None:
    symbols = (BLANK, WORD_START, "a", "b")
    assert decode([i for i in ids for _ in range(3)], symbols) == decode(ids, symbols)


def test_the_blank_is_known_by_its_name_wherever_it_stands() -> None:
    assert decode([0, 0, 3, 0, 1, 3, 2], ("a", WORD_START, "b", BLANK)) == "aa b"
    assert decode([1, 0, 1, 2, 2], ("(blank)", "a", "b")) == "aab"  # else it is symbol 0


# tokens.txt


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_written_are_tokens_read(kind: str, tmp_path: Path) -> None:
    symbols = _tokenizer(kind).symbols
    write_tokens(symbols, tmp_path / "tokens.txt")
    assert read_tokens(tmp_path / "tokens.txt") == symbols
    lines = (tmp_path / "tokens.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{symbol} {i}" for i, symbol in enumerate(symbols)]


def test_a_line_with_only_an_id_is_the_space(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text("<blk> 0\n1\na 2\n7 3\n", encoding="utf-8")
    assert read_tokens(path) == ("<blk>", WORD_START, "a", "7")
    write_tokens(read_tokens(path), path)
    assert read_tokens(path) == ("<blk>", WORD_START, "a", "7")


def test_lines_may_stand_in_any_order_and_end_as_on_windows(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_bytes("b 2\r\n<blk> 0\r\ná 1\r\n".encode())
    assert read_tokens(path) == ("<blk>", "á", "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<blk> 0\na\n", ":2: is not `symbol id`"),
        (b"<blk> 0\na one\n", ":2: is not `symbol id`"),
        (b"<blk> 0\n\na 1\n", ":2: is not `symbol id`"),
        (b"<blk> 0\na 1\nb 1\n", ":3: id 1 is given twice"),
        (b"<blk> 0\na 2\n", ": holds no id 1; ids count from 0 without a gap"),
        (b"", ": holds no id 0; ids count from 0 without a gap"),
        (b"\xff\xfe 0\n", ": is not UTF-8 text"),
    ],
)
def test_a_damaged_token_list_is_refused_with_its_line(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}{message}')}$"):
        read_tokens(path)


def test_a_missing_token_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tokens\.txt: cannot be read \(No such file"):
        read_tokens(tmp_path / "tokens.txt")
