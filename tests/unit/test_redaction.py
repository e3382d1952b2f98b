"""Text from elsewhere is shown as text: bounded, without control characters, places or secrets."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.report.redaction import file_name, markdown, plain, redact


@given(st.text())
def test_nothing_that_controls_a_terminal_or_the_direction_of_text_is_left(text: str) -> None:
    kept = [c for c in plain(text) if c not in "\n\t"]
    assert not any(unicodedata.category(c).startswith("C") for c in kept)


def test_long_text_is_cut_and_says_how_long_it_was() -> None:
    assert plain("é" * 10_000, 20) == "é" * 20 + "… (10,000 characters)"
    assert plain("short") == "short"
    assert plain("begin" + "é" * 10_000 + "end", 5, is_end=True) == "(10,008 characters) …ééend"


@given(st.text(max_size=60))
def test_markdown_is_escaped_whole(text: str) -> None:
    assert not re.search(r"(?<!\\)[`*_\[\]<>$#]", markdown(text).replace("\\\\", ""))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no /home/ann/data/dev.jsonl here", "no …/dev.jsonl here"),
        (r"C:\Users\ann\model.onnx", "…/model.onnx"),
        ("sqlite:////srv/home/store.sqlite", "sqlite:…/store.sqlite"),
        ("file:///srv/home/x.wav", "file:…/x.wav"),
        ("FileNotFoundError:/srv/home/x.wav", "FileNotFoundError:…/x.wav"),
        ("/home/ann smith/corpus/x.wav", "…/x.wav"),
        (r"open C:\Users\Bob Jones\a.wav failed", "open …/a.wav failed"),
        ("no /secretdir here", "no …/secretdir here"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("3 s/s, 5 MAC/s and and/or", "3 s/s, 5 MAC/s and and/or"),
    ],
)
def test_folders_of_a_machine_are_left_out(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ann:hunter22@db/studies",
        "postgresql://ann:hunter22@home@db/studies",
        "token=hunter22",
        "AGENT_TOKEN: hunter22",
        'header {"Authorization": "Bearer hunter22"}',
        "authorization: Basic hunter22",
        "AWS_SECRET_ACCESS_KEY=hunter22",
        '"password": "hunter22"',
        "https://host/x?api_key=hunter22&y=1",
        "sent Bearer hunter22hunter22",
        "--token hunter22",
        "the token hunter22 was refused",
        "AWS_ACCESS_KEY_ID=hunter22",
        "hf_hunter22hunter22",
    ],
)
def test_what_signs_in_is_left_out(text: str) -> None:
    assert "hunter22" not in redact(text)


def test_words_about_tokens_stay() -> None:
    assert redact("26 tokens, a basic model, tokens.txt") == (
        "26 tokens, a basic model, tokens.txt"
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [("edge-2", "edge-2"), ("../../x", "x"), ("<b>\n\0", "b"), ("", "study"), ("语", "study")],
)
def test_a_file_name_holds_nothing_that_a_shell_or_header_reads(text: str, name: str) -> None:
    assert file_name(text) == name
