"""Lines that are wrong in the same way, words that cannot be written, audio that is there twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from lists import N_GOOD, Corpus
from refusals import Refused

from search.cli.main import run

WANTED = "wanted are 'audio_filepath' and 'text', taken as well 'offset', 'duration', 'speaker'"


def test_wrong_keys_are_told_once_with_the_number_of_lines_and_the_keys_found(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.write(corpus.train, *({"audio": f"{i}.wav", "transcript": "ab"} for i in range(40)))
    said = refused("--home", home, "validate", corpus.space())
    fault = f"has no \"audio_filepath\"; its keys are 'audio', 'transcript'; {WANTED}"
    assert f"40 faults:\n  {corpus.train}:1 (and 39 more lines): {fault}\n" in said
    assert said.count('has no "audio_filepath"') == 1
    assert "REFUSED: 40 of 40 items of train are faulty" in said


def test_a_missing_text_is_told_with_the_keys_found(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    keys = {f"key{i}\x1b[2J" + "x" * 100: i for i in range(30)}
    corpus.add(corpus.train, {"audio_filepath": "a.wav", **keys})
    said = refused("--home", home, "validate", corpus.space())
    (line,) = (line for line in said.splitlines() if f"{corpus.train}:{N_GOOD + 1}: " in line)
    assert "has no \"text\"; its keys are 'audio_filepath', 'key0" in line
    assert f" and 23 more; {WANTED}" in line
    assert "\x1b" not in line
    assert len(line) < 800


def test_words_that_cannot_be_written_are_told_as_words(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.dev, corpus.row("long.wav", "ab zoo"))
    said = refused("--home", home, "validate", corpus.space(end="tokens: {kind: words}\n", more=""))
    assert "\nwords outside the token set: zoo\n" in said
    assert "characters outside" not in said


def test_characters_that_cannot_be_written_are_told_as_characters(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.dev, corpus.row("long.wav", "ab zoo"))
    said = refused("--home", home, "validate", corpus.space())
    assert "\ncharacters outside the token set: o z\n" in said


def test_one_recording_with_two_transcripts_is_a_fault_of_both_lines(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.train, corpus.row("train1.wav", "bab"))
    said = refused("--home", home, "validate", corpus.space())
    audio, again = corpus.audio / "train1.wav", N_GOOD + 1
    place = "has another transcript at"
    assert f"  {corpus.train}:2: {audio}: {place} {corpus.train}:{again}\n" in said
    assert f"  {corpus.train}:{again}: {audio}: {place} {corpus.train}:2\n" in said
    assert "REFUSED: 2 of 5 items of train are faulty" in said


def test_a_recording_that_is_listed_twice_is_noted_and_refuses_nothing(
    home: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus.add(corpus.train, corpus.row("train1.wav"), corpus.row("train1.wav"))
    code = run(["--home", str(home), "validate", str(corpus.space())])
    said = "".join(capsys.readouterr())
    assert code == 0, said
    example = f"{corpus.train}:5 is {corpus.train}:2"
    assert f"\ntrain: 2 of 6 utterances are there before ({example})\n" in said
    assert "no faults" in said
