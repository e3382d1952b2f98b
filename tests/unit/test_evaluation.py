"""Errors of texts beside transcripts, of all and by group; what is too little is said to be."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from search.analysis.evaluation import (
    LEAST_FOR_INTERVAL,
    NO_SPEAKER,
    Evaluation,
    Spoken,
    differences,
    duration_band,
    evaluate,
    groups_of,
)
from search.report.evaluation import groups_table, worst_lines


def said(
    reference: str, speaker: str | None = "ann", corpus: str = "a.jsonl", duration_s: float = 1.0
) -> Spoken:
    return Spoken("x.wav", f"{corpus}:1", corpus, speaker, duration_s, reference)


def test_errors_are_counted_by_what_they_are() -> None:
    spoken = [said("turn on the light"), said("stop"), said("go left")]
    found = evaluate("b.zip", spoken, ["turn on a light", "", "go to left now"])
    assert [(e.substitutions, e.deletions, e.insertions) for e in found.edits] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 2),
    ]
    assert found.errors == (1, 1, 2)
    assert found.n_words == (4, 1, 2)
    assert found.wer.value == pytest.approx(4 / 7)
    # the -> a: 2 deleted and 1 replaced; stop deleted: 4; "to " and " now" inserted: 7
    assert found.cer.value == pytest.approx((3 + 4 + 7) / (17 + 4 + 7))


def test_an_interval_takes_utterances_enough_and_holds_the_value() -> None:
    spoken = [said("one two three four") for _ in range(40)]
    texts = ["one two three four" if i % 2 else "one two" for i in range(40)]
    few = evaluate("b", spoken[: LEAST_FOR_INTERVAL - 1], texts[: LEAST_FOR_INTERVAL - 1])
    assert (few.wer.low, few.wer.high) == (None, None)
    assert (
        evaluate("b", spoken[:LEAST_FOR_INTERVAL], texts[:LEAST_FOR_INTERVAL]).wer.low is not None
    )
    wer = evaluate("b", spoken, texts).wer
    assert wer.value == 0.25
    assert wer.low is not None
    assert wer.high is not None
    # the mean of 40 draws of 0 or 0.5: a standard error of 0.25 / sqrt(40)
    assert wer.value - wer.low == pytest.approx(1.96 * 0.25 / 40**0.5, rel=0.2)
    assert wer.high - wer.value == pytest.approx(1.96 * 0.25 / 40**0.5, rel=0.2)


@pytest.mark.parametrize(
    ("seconds", "band"),
    [
        (0.3, "under 2 s"),
        (1.99, "under 2 s"),
        (2.0, "2 to 5 s"),
        (5.0, "5 to 10 s"),
        (10.0, "10 to 20 s"),
        (20.0, "10 to 20 s"),
        (20.01, "above 20 s"),
    ],
)
def test_an_utterance_is_in_one_band_of_lengths(seconds: float, band: str) -> None:
    assert duration_band(seconds) == band


def test_groups_are_by_list_length_and_speaker_and_only_where_there_are_several() -> None:
    spoken = [
        said("a", "bob", duration_s=30),
        said("a b", None, "b.jsonl"),
        said("a b c", "ann"),
        said("a b c d", "bob"),
    ]
    assert groups_of(spoken) == {
        "corpus": {"a.jsonl": [0, 2, 3], "b.jsonl": [1]},
        "duration": {"under 2 s": [1, 2, 3], "above 20 s": [0]},
        "speaker": {NO_SPEAKER: [1], "ann": [2], "bob": [0, 3]},
    }
    assert groups_of(spoken[2:3]) == {}
    found = evaluate("b", spoken, ["", "a", "a b c", "a b"])
    by_name = {g.name: g for g in found.groups}
    assert by_name["bob"].n_utterances == 2
    assert by_name["bob"].n_words == 5
    assert by_name["bob"].wer.value == 3 / 5
    assert by_name["b.jsonl"].wer.value == 1 / 2


def test_the_worst_have_the_most_errors_and_those_without_are_never_among_them() -> None:
    spoken = [said("a b c d"), said("a b"), said("a"), said("x y z")]
    found = evaluate("b", spoken, ["a b", "", "a", ""])
    assert found.worst(9) == [3, 1, 0]
    assert found.worst(1) == [3]
    lines = worst_lines(spoken, found, 1)
    assert lines == [
        "3 errors in 3 words, 1.0 s: x.wav (a.jsonl:1)",
        "  said:    x y z",
        "  written: ",
    ]


def test_what_a_bundle_writes_cannot_steer_the_terminal() -> None:
    spoken = [said("a b")]
    (_, _, written) = worst_lines(spoken, evaluate("b", spoken, ["\x1b[2Jgone"]), 1)
    assert "\x1b" not in written


def test_a_difference_is_of_each_to_the_first_and_real_where_it_is_in_every_utterance() -> None:
    spoken = [said("one two three four") for _ in range(30)]
    right, wrong = ["one two three four"] * 30, ["one two three"] * 30
    mixed = ["one two three four", "one two three", "one two three four five"] * 10
    found = [evaluate(n, spoken, texts) for n, texts in (("a", right), ("b", wrong), ("c", right))]
    worse, same = differences(found)
    assert (worse.target, worse.difference, worse.is_real) == ("b", 0.25, True)
    assert (same.target, same.difference, same.is_real) == ("c", 0.0, False)
    (better,) = differences([evaluate("b", spoken, wrong), evaluate("a", spoken, mixed)])
    assert better.difference == pytest.approx(1 / 6 - 1 / 4)


def rendered(*evaluations: Evaluation) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(groups_table(evaluations))
    return out.getvalue()


def test_of_many_speakers_the_worst_are_shown_and_that_is_said() -> None:
    spoken = [said("a b c d", f"speaker{i:02}") for i in range(50)]
    texts = ["a b c d" if i < 40 else "a" for i in range(50)]
    text = rendered(evaluate("b.zip", spoken, texts))
    assert "the 20 worst speakers; --json has all" in text
    assert "no interval: fewer than 5 utterances" in text
    assert all(f"speaker{i}" in text for i in range(40, 50))
    assert "speaker30" not in text
