"""Lists and recordings that cannot be trained on: each fault is told with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lists import N_GOOD, Corpus, Row
from refusals import Refused

ADVICE = "mend them, or raise data.max_faulty (now 1.00% of a split)"
BAD_ROWS: dict[str, tuple[Callable[[Corpus], Row], str]] = {
    "no JSON": (lambda c: '{"text": oops}', "is not JSON: Expecting value"),
    "a number without end": (lambda c: "1" * 5000, "is not JSON: Exceeds the limit"),
    "JSON but no object": (lambda c: '["train0.wav", "ab"]', "is not a JSON object"),
    "no text": (lambda c: {"audio_filepath": "a.wav"}, 'has no "text"'),
    "a number for a text": (lambda c: c.row(text=5), 'has no "text"'),
    "no audio": (lambda c: {"text": "ab"}, 'has no "audio_filepath"'),
    "half a character": (lambda c: c.row(text="a\ud800"), r"holds '\ud800', which is half a char"),
    "a negative length": (lambda c: c.row(duration=-1), '"duration" is -1, not a length of time'),
    "a length that is no number": (
        lambda c: c.row(duration=float("nan")),
        '"duration" is nan, not a length of time',
    ),
    "a length in words": (
        lambda c: c.row(duration="long"),
        "\"duration\" is 'long', not a number of seconds",
    ),
    "a length beyond all numbers": (
        lambda c: c.row(duration=10**400),
        '"duration" is 1000000000000000000000000000000000000000, not a length of time',
    ),
    "an offset behind the end": (
        lambda c: c.row(offset=50),
        "{audio}/train0.wav: offset 50 s lies after its end",
    ),
    "no words": (lambda c: c.row(text=" "), "its transcript is empty (train0.wav)"),
    "missing audio": (lambda c: c.row("gone.wav"), "{audio}/gone.wav: no such file"),
    "audio of a user there is not": (
        lambda c: {**c.row(), "audio_filepath": "~nobody-here/a.wav"},  # type: ignore[dict-item]
        "~nobody-here/a.wav: no such file",
    ),
    "a name too long for audio": (lambda c: c.row("x" * 300), "xxx: no such file"),
    "empty audio": (lambda c: c.row("empty.wav"), "{audio}/empty.wav: is an empty file"),
    "a folder for audio": (
        lambda c: c.row("folder.wav"),
        "{audio}/folder.wav: is a folder, not an audio file",
    ),
    "truncated WAV": (
        lambda c: c.row("cut.wav"),
        "{audio}/cut.wav: is truncated (16,022 bytes of 32,044)",
    ),
    "truncated FLAC": (
        lambda c: c.row("cut.flac"),
        "{audio}/cut.flac: is not audio that can be read (",
    ),
    "text named .wav": (
        lambda c: c.row("words.wav"),
        "{audio}/words.wav: is not audio that can be read (Format not recognised)",
    ),
    "samples without a rate": (
        lambda c: c.row("train0.raw"),
        "{audio}/train0.raw: is raw samples without a rate; write it as WAV",
    ),
    "silence": (
        lambda c: c.row("silent.wav"),
        "{audio}/silent.wav: is silent (peak below -70 dB)",
    ),
    "samples that are no numbers": (
        lambda c: c.row("nan.wav"),
        "{audio}/nan.wav: holds samples that are not finite (NaN or infinity)",
    ),
    "no samples": (lambda c: c.row("none.wav"), "{audio}/none.wav: holds no samples"),
    "30 ms": (lambda c: c.row("short.wav"), "{audio}/short.wav: lasts 30 ms; too short"),
    "audio shorter than listed": (
        lambda c: c.row(duration=5),
        "{audio}/train0.wav: is truncated (1.00 s of the 5 s listed)",
    ),
    "audio longer than allowed": (
        lambda c: c.row("long.wav"),
        "{audio}/long.wav: lasts 1.5 s, above data.max_duration_s (1.2 s)",
    ),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_faulty_line_of_a_list_is_told_with_its_number(
    refused: Refused, home: Path, corpus: Corpus, kind: str
) -> None:
    make, fault = BAD_ROWS[kind]
    corpus.add(corpus.train, make(corpus))
    said = refused("--home", home, "validate", corpus.space(more=", max_duration_s: 1.2"))
    place = f"  {corpus.train}:{N_GOOD + 1}: "
    assert place in said
    assert fault.format(audio=corpus.audio) in said.partition(place)[2].splitlines()[0]
    assert f"1 fault:\n{place}" in said
    assert f"REFUSED: 1 of 5 items of train are faulty; {ADVICE}" in said


def test_all_faults_of_the_data_are_in_one_report(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.train, "{", corpus.row("gone.wav"), corpus.row(text=""))
    corpus.add(corpus.dev, corpus.row("silent.wav"))
    said = refused("--home", home, "validate", corpus.space())
    assert "4 faults:" in said
    for place in (f"{corpus.train}:5", f"{corpus.train}:6", f"{corpus.train}:7", f"{corpus.dev}:3"):
        assert f"\n  {place}: " in said
    refusal = "3 of 7 items of train are faulty; 1 of 3 items of dev are faulty"
    assert f"REFUSED: {refusal}; {ADVICE}" in said


def test_a_list_without_one_good_line_is_refused_without_further_complaints(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.write(corpus.train, corpus.row("gone.wav"))
    said = refused("--home", home, "validate", corpus.space())
    assert "1 fault:" in said
    assert "REFUSED: 1 of 1 items of train are faulty; train holds no usable utterance" in said


def test_audio_too_short_for_its_transcript_is_told(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.train, corpus.row("brief.wav", "ab ba ab ba ab ba"))
    said = refused("--home", home, "validate", corpus.space())
    assert (
        f"{corpus.train}:5: brief.wav lasts 0.10 s (2 output steps), too short for the 17 "
        "tokens of its transcript"
    ) in said
    assert f"REFUSED: 1 of 5 transcripts of train do not fit the tokens; {ADVICE}" in said


@pytest.mark.parametrize(
    ("tokens", "fault"),
    [
        ("characters", "character 'z' is not in the token set, which is made from the transcripts"),
        (
            "words",
            "word 'zoo' is not in the token set, which is made from the transcripts of train",
        ),
    ],
)
def test_what_only_dev_says_is_told(
    refused: Refused, home: Path, corpus: Corpus, tokens: str, fault: str
) -> None:
    corpus.add(corpus.dev, corpus.row("long.wav", "zoo"))
    space = corpus.space(end=f"tokens: {{kind: {tokens}}}\n")
    said = refused("--home", home, "validate", space)
    assert f"{corpus.dev}:3: {fault}" in said
    assert f"REFUSED: 1 of 3 transcripts of dev do not fit the tokens; {ADVICE}" in said


def test_more_pieces_than_the_transcripts_hold_are_refused(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    space = corpus.space(end="tokens: {kind: bpe, vocabulary: 5000}\n")
    said = refused("--home", home, "validate", space)
    assert (
        "tokens: no 5000 pieces can be made of these transcripts (Vocabulary size too high" in said
    )


def test_an_utterance_in_train_and_dev_is_told(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.dev, corpus.row("train2.wav"))
    said = refused("--home", home, "validate", corpus.space())
    assert f"{corpus.train}:3: the same utterance is in dev ({corpus.dev}:3)" in said
    assert f"REFUSED: 1 utterances are in train and dev; {ADVICE}" in said


def test_a_speaker_in_train_and_dev_is_told(refused: Refused, home: Path, corpus: Corpus) -> None:
    corpus.write(corpus.train, *(corpus.row(f"train{i}.wav", speaker="ann") for i in range(N_GOOD)))
    corpus.write(corpus.dev, *(corpus.row(f"dev{i}.wav", speaker="ann") for i in range(2)))
    said = refused("--home", home, "validate", corpus.space())
    assert "  speaker ann: in train (4 utterances) and in dev (2)" in said
    assert "REFUSED: 1 speakers are in train and dev (if that is meant: data.allow_shared_s" in said


def test_what_test_shares_with_train_and_dev_is_told(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    test = corpus.folder / "test.jsonl"
    corpus.add(corpus.train, corpus.row("long.wav", speaker="ann"))
    corpus.add(corpus.dev, corpus.row("brief.wav", "ab", speaker="bob"))
    corpus.write(
        test,
        corpus.row("dev0.wav", speaker="ann"),
        corpus.row("train2.wav"),
        corpus.row("gone.wav"),
        corpus.row("dev1.wav", speaker="bob"),
    )
    said = refused("--home", home, "validate", corpus.space(more=f", test: {test}"))
    for fault in (
        f"{test}:3: {corpus.audio}/gone.wav: no such file",
        f"{test}:2: the same utterance is in train ({corpus.train}:3)",
        f"{test}:1: the same utterance is in dev ({corpus.dev}:1)",
        f"{test}:4: the same utterance is in dev ({corpus.dev}:2)",
        "speaker ann: in train (1 utterances) and in test (1)",
        "REFUSED: 1 of 4 items of test are faulty; 1 utterances are in train and test; 1 speakers "
        "are in train and test (if that is meant: data.allow_shared_speakers: true); 2 utterances "
        "are in dev and test; test holds no usable utterance",
    ):
        assert fault in said


# name of the list, what is in it, keys of the space, what is said of it
BAD_LISTS: dict[str, tuple[str, bytes | None, str, str]] = {
    "missing": (
        "gone.jsonl",
        None,
        "",
        ": no such file or folder (in a space, paths are relative to its file)",
    ),
    "empty": ("list.jsonl", b"", "", ": holds no utterances"),
    "blank lines": ("list.jsonl", b"\n \n", "", ": holds no utterances"),
    "not UTF-8": ("list.jsonl", b"\n{\xff}\n", "", ":2: is not UTF-8 text; save it as UTF-8"),
    "an unknown format": (
        "list.txt",
        b"a ab\n",
        "",
        ": of what format? Name it .jsonl, .csv or .tsv, or set format: in the space",
    ),
    "a file for a folder": (
        "list.jsonl",
        b"{}",
        ", format: timit",
        ": is a file, which format: timit does not read",
    ),
    "CSV of other columns": (
        "list.csv",
        b"sound,words\na.wav,ab\n",
        "",
        ":1: has no column 'path or audio_filepath or audio or file or filename or wav' for the "
        "audio; its columns are sound, words; name it by data.audio_column",
    ),
    "CSV without the column named": (
        "list.csv",
        b"path,sentence\na.wav,ab\n",
        ", text_column: words",
        ":1: has no column 'words' for the text; its columns are path, sentence; name it by "
        "data.text_column",
    ),
    "CSV without the speakers named": (
        "list.csv",
        b"path,sentence\na.wav,ab\n",
        ", speaker_column: who",
        ":1: has no column 'who' for the speaker; its columns are path, sentence; name it by "
        "data.speaker_column",
    ),
    "CSV with a short line": (
        "list.csv",
        b"path,sentence\na.wav\n",
        "",
        ":2: has 2 columns in its header but fewer here",
    ),
    "CSV with only a header": ("list.csv", b"path,sentence\n", "", ": holds no utterances"),
    "CSV without a header": ("list.csv", b"", "", ": holds no utterances"),
    "CSV of one endless field": (
        "list.csv",
        b"x" * 200_000,
        "",
        ":1: field larger than field limit (131072)",
    ),
}


@pytest.mark.parametrize("kind", BAD_LISTS)
def test_a_list_that_cannot_be_read_is_told(
    refused: Refused, home: Path, corpus: Corpus, kind: str
) -> None:
    name, content, keys, fault = BAD_LISTS[kind]
    path = corpus.folder / name
    if content is not None:
        path.write_bytes(content)
    said = refused("--home", home, "validate", corpus.space(train=path, more=keys))
    assert f"{path}{fault}" in said


def test_a_folder_without_transcripts_is_told(refused: Refused, home: Path, corpus: Corpus) -> None:
    said = refused("--home", home, "validate", corpus.space(train=corpus.audio))
    assert (
        f"{corpus.audio}: is neither a LibriSpeech folder (*.trans.txt) nor a TIMIT folder (*.TXT "
        "beside each *.WAV)"
    ) in said


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("1/2/1-2.trans.txt", "1-2-0001 AB BA\n", "1-2-0001.flac: no such file"),
        ("dr1/ann/sa1.txt", "0 16000 ab ba.\n", "has no audio file of the same name beside it"),
    ],
    ids=["LibriSpeech", "TIMIT"],
)
def test_a_transcript_without_its_audio_is_told(
    refused: Refused, home: Path, corpus: Corpus, name: str, content: str, fault: str
) -> None:
    path = corpus.folder / "corpus" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    said = refused("--home", home, "validate", corpus.space(train=corpus.folder / "corpus"))
    assert f"{path}:1: " in said
    assert fault in said


def test_launch_refuses_bad_data_as_validate_does_and_goes_on_when_they_are_mended(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.train, corpus.row("gone.wav"))
    launch = ("--home", home, "launch", "--plain", "--space")
    said = refused(*launch, corpus.space())
    assert f"the data is refused: 1 of 5 items of train are faulty; {ADVICE}" in said
    assert f"1 fault:\n  {corpus.train}:5: {corpus.audio}/gone.wav: no such file" in said
    # the advice is taken: now it is something else that is wrong, not that the space has changed
    corpus.add(corpus.dev, corpus.row("train0.wav"))
    said = refused(*launch, corpus.space(more=", max_faulty: 0.3"))
    assert "the data is refused: 1 utterances are in train and dev; mend them, or raise" in said
    assert "differs from what study" not in said
