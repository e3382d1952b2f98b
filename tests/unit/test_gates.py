"""A gate catches what a mean hides."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from search.objectives import violation_message
from search.policy import policy_of
from spaces.errors import SpaceError
from spaces.gates import Gates, judge
from spaces.load import parse_space
from spaces.space import Space
from workers.atomic import new_folder
from workers.data.corpus import Corpus
from workers.measure.accuracy import accuracy
from workers.measure.scoring import BatchDecoder, long_figures

Make = Callable[..., Space]
DEFAULTS = {"qoi": 0.95, "long_audio": 0.05, "empty_output": 0.01}
SIGNS = {"qoi": ">=", "long_audio": "<=", "empty_output": "<="}


# in a space


def test_without_gates_everything_passes(make_space: Make) -> None:
    assert make_space().gate == Gates()
    assert judge(Gates(), {"qoi": 0.0, "empty_share": 1.0, "long_excess": 1.0}, {}, ("cpu",)) == []


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize(
    ("written", "limit"),
    [(True, None), (0.5, 0.5), (1, 1.0), ("50%", 0.5), ("SIGN 0.25", 0.25), ("SIGN 25 %", 0.25)],
)
def test_a_limit_may_be_written_in_several_ways(
    make_space: Make, name: str, written: Any, limit: float | None
) -> None:
    if isinstance(written, str):
        written = written.replace("SIGN", SIGNS[name])
    gate = make_space(gate={name: written}).gate
    assert getattr(gate, name) == pytest.approx(DEFAULTS[name] if limit is None else limit)


@pytest.mark.parametrize("name", [*DEFAULTS, "olive_asr"])
def test_false_is_no_gate(make_space: Make, name: str) -> None:
    assert make_space(gate={name: False}).gate == Gates()


def test_olive_is_on_or_off(make_space: Make) -> None:
    gate = make_space(gate={"olive_asr": True}).gate
    assert gate.olive_asr
    assert gate.timed == ("olive_asr",)


@pytest.mark.parametrize(
    ("written", "limit"), [({}, 1.05), ({"limit": "<= 1.1"}, 1.1), ({"limit": "110%"}, 1.1)]
)
def test_a_baseline_lies_beside_the_space(
    tmp_path: Path, make_space: Make, written: dict[str, str], limit: float
) -> None:
    space = make_space(gate={"regression": {"against": "old/student.zip", **written}})
    regression = space.gate.regression
    assert regression is not None
    assert regression.limit == pytest.approx(limit)
    assert regression.against == str(Path("old/student.zip").resolve())


FAULTS = {
    "qoi: '<= 0.95'": (5, "gate.qoi", 'write ">= 0.95", or true for just that'),
    "qoi: high": (5, "gate.qoi", 'write ">= 0.95", or true for just that'),
    "qoi: 95": (5, "gate.qoi", "95: input should be less than or equal to 1"),
    "qoi: '>= 95'": (5, "gate.qoi", "input should be less than or equal to 1"),
    "long_audio: '>= 0.05'": (5, "gate.long_audio", 'write "<= 0.05", or true for just that'),
    "empty_output: -0.1": (5, "gate.empty_output", "-0.1: input should be greater than or equal"),
    "empty_output: [0.1]": (5, "gate.empty_output", "Input should be a valid number"),
    "olive_asr: often": (5, "gate.olive_asr", "'often': input should be a valid boolean"),
    "olive: true": (5, "gate.olive", 'unknown key; did you mean "olive_asr"?'),
    "regression: old.zip": (
        5,
        "gate.regression",
        "is not a mapping of keys; known: against, limit",
    ),
    "regression: {limit: 1.1}": (5, "gate.regression.against", "is missing"),
    "regression: {against: a, limit: 0}": (
        5,
        "gate.regression.limit",
        "Input should be greater than 0",
    ),
    "regression: {against: a, limti: 1}": (
        5,
        "gate.regression.limti",
        'unknown key; did you mean "limit"?',
    ),
}


@pytest.mark.parametrize("written", FAULTS)
def test_a_gate_that_makes_no_sense_is_told_with_its_line(written: str) -> None:
    line, where, said = FAULTS[written]
    text = (
        "name: test\ndata: {synthetic: {}}\nteacher: {train: {}}\n"
        f"students: {{separable_conv: {{}}}}\ngate: {{{written}}}\n"
    )
    with pytest.raises(SpaceError) as caught:
        parse_space(text, "test.yaml")
    (fault,) = caught.value.faults
    assert (fault.line, fault.where) == (line, where)
    assert said in fault.message


# what a gate catches

SAID = [f"word{i} is said by speaker{i} in ten words or so" for i in range(100)]


def verdict(
    gates: Gates,
    metrics: dict[str, float],
    teacher: dict[str, float] | None = None,
    timed: bool = True,
) -> str | None:
    """As a search says it."""
    return violation_message(
        {}, metrics, (), judge(gates, metrics, teacher or {}, ("cpu", "ov"), timed)
    )


def scored(texts: Sequence[str], teacher_texts: Sequence[str] = SAID) -> dict[str, float]:
    found = accuracy(SAID, texts, teacher_texts)
    assert found.qoi is not None
    return {"wer": found.wer, "qoi": found.qoi, "empty_share": found.empty_share}


def test_a_student_that_writes_nothing_of_some_utterances_is_caught() -> None:
    metrics = scored(["" if i % 50 == 0 else text for i, text in enumerate(SAID)])
    assert metrics["wer"] == pytest.approx(0.02)
    assert verdict(Gates(empty_output=0.01), metrics) == (
        "breaks gate empty_output <= 0.01 (is 0.02)"
    )
    assert verdict(Gates(empty_output=0.02), metrics) is None


def _spread(every: int, n_wrong: int) -> list[str]:
    """As many words wrong in every so many utterances."""
    return [
        " ".join(["x"] * n_wrong + text.split()[n_wrong:]) if i % every == 0 else text
        for i, text in enumerate(SAID)
    ]


def test_a_student_that_is_worse_for_a_tenth_of_the_people_is_caught_at_the_same_mean() -> None:
    teacher = _spread(every=1, n_wrong=1)
    fair = scored(_spread(every=1, n_wrong=1), teacher)
    unfair = scored(_spread(every=10, n_wrong=10), teacher)
    assert unfair["wer"] == pytest.approx(fair["wer"])
    assert verdict(Gates(qoi=0.95), fair) is None
    assert verdict(Gates(qoi=0.95), unfair) == "breaks gate qoi >= 0.95 (is 0.9)"


class Listener:
    """Writes the words of each stretch that it hears, up to a number of seconds."""

    def __init__(self, forgets_after_s: float) -> None:
        self._n_frames = round(forgets_after_s * 100)

    def texts(self, features: Path, at: Sequence[tuple[int, int]]) -> list[str]:
        return [
            " ".join(w for i, w in enumerate(LONG[start].split()) if i * 100 < self._n_frames)
            for start, _ in at
        ]


# Two slices of half a minute, one word a second, of five utterances each.
UTTERANCES = [" ".join(f"w{i}{j}" for j in range(6)) for i in range(10)]
LONG = {3000 * k: " ".join(UTTERANCES[5 * k : 5 * k + 5]) for k in range(2)}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    index = {
        "at": [[0, 3000], [3000, 3000]],
        "members": [list(range(5)), list(range(5, 10))],
    }
    with new_folder(tmp_path / "long") as folder:
        (folder / "index.json").write_text(json.dumps(index))
    dev = [SimpleNamespace(text=text) for text in UTTERANCES]
    found = SimpleNamespace(folder=tmp_path, dev=dev, normalise=lambda text: text)
    return cast(Corpus, found)


@pytest.mark.parametrize(
    ("forgets_after_s", "excess", "said"),
    [
        (30.0, 0.0, None),
        (29.0, 1 / 30, None),
        (20.0, 1 / 3, "breaks gate long_audio <= 0.05 (is 0.3333)"),
    ],
)
def test_a_student_that_breaks_over_long_audio_is_caught(
    corpus: Corpus, forgets_after_s: float, excess: float, said: str | None
) -> None:
    reader = cast(BatchDecoder, Listener(forgets_after_s))
    metrics = long_figures(reader, corpus, UTTERANCES)
    assert metrics["long_excess"] == pytest.approx(excess)
    assert verdict(Gates(long_audio=0.05), metrics) == said


def test_errors_that_are_there_in_short_utterances_too_are_no_excess(corpus: Corpus) -> None:
    halves = [" ".join(text.split()[:3]) for text in UTTERANCES]
    metrics = long_figures(cast(BatchDecoder, Listener(15.0)), corpus, halves)
    assert metrics == {"long_wer": pytest.approx(0.5), "long_excess": pytest.approx(0.0)}


REGRESSION = Gates.model_validate({"regression": {"against": "old.zip"}})


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (1.08, "breaks gate regression@ov <= 1.05 (is 1.08)"),
        (1.05, None),
        (0.7, None),
    ],
)
def test_a_student_that_is_slower_than_the_last_release_is_caught(
    figure: float, said: str | None
) -> None:
    assert verdict(REGRESSION, {"regression@cpu": 1.0, "regression@ov": figure}) == said


@pytest.mark.parametrize(
    ("wer", "throughput", "said"),
    [
        (0.11, 210.0, None),
        (0.11, 190.0, "WER 11.0% at 1.9 times the teacher's speed, allowed 10.0%"),
        (0.112, 900.0, "WER 11.2% at 9.0 times the teacher's speed, allowed 11.0%"),
        (0.1, 50.0, None),
        (0.09, 210.0, None),
    ],
)
def test_olives_rule_takes_a_point_of_wer_at_twice_the_speed(
    wer: float, throughput: float, said: str | None
) -> None:
    teacher = {"wer": 0.1, "throughput@cpu": 100.0, "throughput@ov": 1e9}
    found = verdict(Gates(olive_asr=True), {"wer@cpu": wer, "throughput@cpu": throughput}, teacher)
    assert found == (said and f"breaks gate olive_asr@cpu ({said})")


def test_every_target_is_judged_by_its_own_figures() -> None:
    teacher = {"wer": 0.1, "throughput@cpu": 100.0, "throughput@ov": 100.0}
    metrics = {
        "wer@cpu": 0.105,
        "wer@ov": 0.105,
        "throughput@cpu": 300.0,
        "throughput@ov": 150.0,
        "regression@cpu": 1.2,
    }
    gates = Gates(olive_asr=True, regression=REGRESSION.regression)
    found = {j.text: j.excess > 0 for j in judge(gates, metrics, teacher, ("cpu", "ov"))}
    assert found == {
        "gate regression@cpu <= 1.05": True,
        "gate olive_asr@cpu": False,
        "gate olive_asr@ov": True,
    }


def test_in_a_deterministic_study_timed_gates_decide_nothing_and_others_do() -> None:
    gates = Gates(olive_asr=True, regression=REGRESSION.regression, qoi=0.95)
    metrics = {"regression@cpu": 2.0, "wer@cpu": 0.9, "throughput@cpu": 1.0, "qoi": 0.5}
    teacher = {"wer": 0.1, "throughput@cpu": 100.0}
    said = verdict(gates, metrics, teacher, policy_of(deterministic=True).timed_decides)
    assert said == "breaks gate qoi >= 0.95 (is 0.5)"
    said = verdict(gates, metrics, teacher, policy_of(deterministic=False).timed_decides)
    assert said is not None
    assert "regression@cpu" in said
    assert "olive_asr@cpu" in said


@pytest.mark.parametrize("gate", ["qoi", "long_audio", "empty_output"])
def test_a_gate_without_its_figure_says_nothing(gate: str) -> None:
    assert judge(Gates(**{gate: 0.5}), {"wer": 0.1}, {}, ("cpu",)) == []
