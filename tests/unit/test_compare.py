"""A difference is called real only where it is one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.analysis.compare import Difference, Side, compare, paired_difference, side_of
from search.cli.main import run
from search.errors import UsageFault
from search.results import TrialResults
from spaces.families import SeparableConv
from spaces.recipe import Recipe
from storage.errors import NoSuchTrial
from storage.records import Study, TrialState
from storage.store import Store
from workers.results import (
    AnyResult,
    ExportResult,
    MeasureResult,
    Reading,
    ScoreResult,
    ScreenResult,
)

N_UTTERANCES, N_WORDS = 200, 8
EXPORTED = ExportResult(model="m", float32="f", tokens="t")
SPACE = """\
name: tiny
data: {synthetic: {}}
teacher: {train: {}}
students: {separable_conv: {channels: 32}}
"""


def score(errors: Sequence[int] | np.ndarray) -> ScoreResult:
    counts = tuple(int(e) for e in errors)
    return ScoreResult(texts="texts", errors=counts, words=(N_WORDS,) * len(counts))


def measure(
    ratios: Sequence[float], end_to_end_ms: np.ndarray | None = None, n_utterances: int = 4
) -> MeasureResult:
    middle = float(np.median(ratios))
    readings = [
        Reading(metric="anchor_ratio", value=middle, samples=tuple(ratios)),
        Reading(metric="rtf", value=0.1),
    ]
    if end_to_end_ms is not None:
        samples = tuple(end_to_end_ms.ravel().tolist())
        readings.append(Reading(metric="latency_p50_ms", value=1.0, samples=samples))
    n_passes = 0 if end_to_end_ms is None else len(end_to_end_ms) // len(ratios)
    return MeasureResult(
        readings=tuple(readings),
        utterances_s=(1.0,) * n_utterances,
        passes=(n_passes,) * len(ratios),
    )


def side(**results: AnyResult) -> Side:
    found = TrialResults()
    for name, result in results.items():
        found = found.having(name.replace("_at_", "@"), result)
    return Side("trial 0", {}, found)


def only(a: AnyResult, b: AnyResult, kind: str) -> Difference:
    (found,) = compare(side(**{kind: a}), side(**{kind: b}))
    return found


# word errors


def test_many_better_utterances_are_a_real_difference() -> None:
    rng = np.random.default_rng(0)
    errors = rng.integers(0, 4, N_UTTERANCES)
    fewer = np.maximum(0, errors - (rng.random(N_UTTERANCES) < 0.2))
    found = only(score(errors), score(fewer), "score_at_cpu")
    assert found.is_real
    assert (found.metric, found.target, found.relative) == ("wer", "cpu", False)
    assert found.low < found.difference < found.high < 0
    assert found.a == errors.sum() / (N_UTTERANCES * N_WORDS)
    assert found.difference == pytest.approx(found.b - found.a)
    assert found.how == f"paired over {N_UTTERANCES} utterances, {N_UTTERANCES * N_WORDS} words"


def test_the_same_mean_of_other_utterances_is_no_real_difference() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 4, (2, N_UTTERANCES))
    found = only(score(a), score(b), "score_at_cpu")
    assert not found.is_real
    assert found.low < 0 < found.high


def test_equal_errors_are_no_difference() -> None:
    errors = np.random.default_rng(2).integers(0, 4, N_UTTERANCES)
    found = only(score(errors), score(errors), "score_at_cpu")
    assert (found.difference, found.low, found.high, found.is_real) == (0, 0, 0, False)


def test_pairing_finds_a_difference_that_unpaired_intervals_would_not() -> None:
    """Utterances differ far more than the students do."""
    errors = np.random.default_rng(3).integers(0, N_WORDS, N_UTTERANCES)
    slightly = errors.copy()
    slightly[errors > 0] -= np.arange((errors > 0).sum()) % 12 == 0
    found = only(score(errors), score(slightly), "score_at_cpu")
    wer_deviation = errors.std() / N_WORDS / np.sqrt(N_UTTERANCES)
    assert abs(found.difference) < 1.96 * wer_deviation
    assert found.is_real


def test_verdicts_on_equal_students_are_wrong_about_one_time_in_twenty() -> None:
    rng = np.random.default_rng(4)
    drawn = [rng.poisson(1.0, (2, 60)) for _ in range(100)]
    wrong = [only(score(a), score(b), "score_at_cpu").is_real for a, b in drawn]
    assert sum(wrong) <= 12


# times


def ratios(around: float, seed: int, n: int = 5) -> list[float]:
    """What restarts find, with the 1.5 % noise that was seen."""
    noise = np.random.default_rng(seed).normal(0, 0.015, n)
    return (around * np.exp(noise)).tolist()


def test_anchor_ratios_eight_percent_apart_are_told_apart() -> None:
    found = only(measure(ratios(4.0, 0)), measure(ratios(4.32, 1)), "measure_at_pi5")
    assert found.is_real
    assert found.relative
    assert (found.metric, found.target) == ("anchor_ratio", "pi5")
    assert found.low < found.difference < found.high
    assert found.how.endswith("5 and 5 restarts")


@pytest.mark.parametrize(
    ("apart", "n_restarts", "least", "most"),
    [(1.08, 5, 0.99, 1.0), (1.08, 3, 0.85, 1.0), (1.01, 3, 0.0, 0.1), (1.0, 5, 0.0, 0.06)],
)
def test_three_restarts_tell_eight_percent_and_not_one(
    apart: float, n_restarts: int, least: float, most: float
) -> None:
    found = [
        only(
            measure(ratios(4.0, seed, n_restarts)),
            measure(ratios(4.0 * apart, seed + 1000, n_restarts)),
            "measure_at_pi5",
        ).is_real
        for seed in range(200)
    ]
    assert least <= np.mean(found) <= most


def test_restarts_that_agree_by_luck_do_not_make_a_small_difference_real() -> None:
    a, b = [4.0, 4.0001, 4.0002], [4.04, 4.0401, 4.0402]
    found = only(measure(a), measure(b), "measure_at_pi5")
    assert not found.is_real
    assert found.high - found.low > 0.03


def test_one_restart_a_side_tells_nothing() -> None:
    found = only(measure([4.0]), measure([8.0]), "measure_at_pi5")
    assert found.difference == pytest.approx(1.0)
    assert not found.is_real


@pytest.mark.parametrize(("factor", "is_real"), [(1.1, True), (1.005, False)])
def test_wall_times_are_compared_utterance_by_utterance(factor: float, is_real: bool) -> None:
    rng = np.random.default_rng(0)
    lengths_ms = np.array([2.0, 4.0, 8.0, 16.0])
    a, b = (lengths_ms * rng.lognormal(0, 0.03, (60, 4)) for _ in range(2))
    a *= np.repeat([1.0, 1.01, 0.99, 1.005], 15)[:, None]  # restarts differ by themselves
    pair = measure(ratios(4, 0, 4), a), measure(ratios(4, 1, 4), b * factor)
    found = {d.metric: d for d in compare(side(measure_at_x=pair[0]), side(measure_at_x=pair[1]))}
    wall = found["latency_p50_ms"]
    assert wall.is_real == is_real
    assert wall.difference == pytest.approx(factor - 1, abs=0.02)


def test_wall_times_that_were_not_taken_in_quiet_are_not_told_apart() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.lognormal(1, 0.01, (60, 4)) for _ in range(2))
    steady, busy = measure(ratios(4, 0, 4), a), measure(ratios(6, 1, 4), b * 1.5)
    busy = busy.model_copy(update={"unsteady": ("competing load",)})
    for pair in ((steady, busy), (busy, steady), (busy, busy)):
        found = {
            d.metric: d for d in compare(side(measure_at_x=pair[0]), side(measure_at_x=pair[1]))
        }
        assert not found["latency_p50_ms"].is_real
        assert not found["latency_p95_ms"].is_real
    found = {d.metric: d for d in compare(side(measure_at_x=steady), side(measure_at_x=busy))}
    assert found["anchor_ratio"].is_real  # the anchor ran in turn with each


def test_the_95th_percentile_is_compared_as_well() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.lognormal(1, 0.01, (60, 4)) for _ in range(2))
    b[::15] *= 2  # a tail that no median sees
    pair = measure(ratios(4, 0, 4), a), measure(ratios(4, 0, 4), b)
    found = {d.metric: d for d in compare(side(measure_at_x=pair[0]), side(measure_at_x=pair[1]))}
    assert not found["latency_p50_ms"].is_real
    assert found["latency_p95_ms"].is_real


def test_both_run_in_turn_are_told_apart_by_what_each_restart_found() -> None:
    noise = np.array([-0.006, -0.002, 0.001, 0.003, 0.004])
    near = paired_difference("pi5", np.exp(0.003 + noise).tolist(), (10.0, 10.03))
    far = paired_difference("pi5", np.exp(0.03 + noise).tolist(), (10.0, 10.3))
    assert not near.is_real
    assert far.is_real
    assert far.difference == pytest.approx(0.03, abs=0.01)
    assert (far.a, far.b, far.target) == (10.0, 10.3, "pi5")


# what is compared


def test_only_what_both_were_measured_with_is_compared() -> None:
    a = side(score_at_cpu=score([1]), score_at_ov=score([1]), measure_at_cpu=measure([1, 2, 3]))
    b = side(score_at_cpu=score([2]), measure_at_pi5=measure([1, 2, 3]), export=EXPORTED)
    assert [(d.metric, d.target) for d in compare(a, b)] == [("wer", "cpu")]
    assert compare(a, side()) == []


def test_a_phone_that_tells_no_anchor_is_left_out() -> None:
    told = MeasureResult(readings=(Reading(metric="graph_p50_ms", value=1.0, samples=(1.0,)),))
    assert compare(side(measure_at_phone=told), side(measure_at_phone=told)) == []


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Trial 0 and the teacher are measured, trial 1 is screened out, 2 was measured twice."""
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    study = store.studies.create(
        name="tiny",
        space_yaml=SPACE,
        space_path=str(tmp_path / "tiny.yaml"),
        space_digest="0" * 64,
        seed=0,
        deterministic=False,
        trials_wanted=3,
    )
    recipe = Recipe(student=SeparableConv(channels=32))
    states = (TrialState.COMPLETE, TrialState.SCREENED_OUT, TrialState.COMPLETE)
    for number, state in enumerate(states):
        trial = store.trials.add(
            study.id,
            number=number,
            values={"family": "separable_conv"},
            recipe=recipe.model_dump(mode="json"),
            recipe_digest=recipe.digest(),
            label=recipe.label(),
            source="initial_design",
        )
        store.trials.save(trial.evolve(state=state))

    def ran(number: int | None, stage: str, result: AnyResult | None, state: str = "done") -> None:
        store.stage_runs.add(
            study.id,
            trial_number=number,
            stage=stage,
            key="k",
            attempt=1,
            state=state,
            started_at=0.0,
            duration_s=1.0,
            result={} if result is None else result.model_dump(mode="json"),
        )

    for number in (None, 0, 2):
        ran(number, "score@cpu", score(np.arange(N_UTTERANCES) % (4 if number is None else 3)))
    ran(1, "screen", ScreenResult())
    ran(None, "measure@cpu", measure(ratios(8.0, 0, 3)))
    ran(0, "measure@cpu", measure(ratios(4.0, 1, 3)))
    ran(2, "measure@cpu", measure(ratios(4.0, 2, 3)))
    ran(2, "measure@cpu", None, "failed")
    ran(2, "measure@cpu", measure(ratios(2.0, 3, 3)))
    store.close()
    return tmp_path


@pytest.fixture
def stored(home: Path) -> Any:
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    yield store, store.studies.get("tiny")
    store.close()


def test_a_side_is_a_trial_or_the_teacher(stored: tuple[Store, Study]) -> None:
    store, study = stored
    teacher, trial = side_of(store, study, "teacher"), side_of(store, study, "0")
    assert (teacher.name, trial.name) == ("teacher", "trial 0")
    for results in (teacher.results, trial.results):
        assert set(results.scored) == set(results.measured) == {"cpu"}
        assert replace(results, scored={}, measured={}).is_empty
    found = {d.metric: d for d in compare(teacher, trial)}
    assert found["anchor_ratio"].difference == pytest.approx(-0.5, abs=0.03)
    assert found["anchor_ratio"].is_real
    assert found["wer"].is_real


def test_what_was_measured_last_is_compared(stored: tuple[Store, Study]) -> None:
    store, study = stored
    (found,) = [
        d
        for d in compare(side_of(store, study, "0"), side_of(store, study, "2"))
        if d.metric == "anchor_ratio"
    ]
    assert found.b == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("seven", UsageFault, '"seven" is neither the number of a trial nor "teacher"'),
        ("-1", UsageFault, '"-1" is neither the number of a trial nor "teacher"'),
        ("²", UsageFault, '"²" is neither the number of a trial nor "teacher"'),
        ("", UsageFault, '"" is neither the number of a trial nor "teacher"'),
        ("1", UsageFault, "trial 1 is screened out: nothing of it was measured"),
        ("9", NoSuchTrial, "the study has no trial 9; it has trials 0 to 2"),
    ],
)
def test_what_is_neither_trial_nor_teacher_is_refused(
    stored: tuple[Store, Study], text: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        side_of(*stored, text)
    assert str(caught.value) == said


# the command


def test_the_command_gives_every_difference_as_json(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(home), "compare", "teacher", "0", "--json"]) == 0
    found = {d["metric"]: d for d in json.loads(capsys.readouterr().out)}
    assert set(found) == {"wer", "anchor_ratio"}
    assert found["wer"]["is_real"] is True
    assert found["wer"]["low"] <= found["wer"]["difference"] <= found["wer"]["high"] < 0
    assert found["anchor_ratio"]["target"] == "cpu"


def test_the_command_says_what_cannot_be_told(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["--home", str(home), "compare", "0", "0"]) == 0
    said = capsys.readouterr().out
    assert "cannot be told" in said
    assert "+0.0 points" in said
    assert "anchor_ratio: CPU time of the network over the anchor's, 3 and 3 restarts" in said
    assert run(["--home", str(home), "compare", "0", "2"]) == 0
    assert "yes" in capsys.readouterr().out


def test_restarts_that_differ_by_themselves_make_no_difference_between_equal_files() -> None:
    """Runs of one process are alike: counting each of them would call 2 % of luck real."""
    rng = np.random.default_rng(1)
    n_real = 0
    for i in range(40):
        sides = []
        for _ in range(2):
            luck = np.repeat(rng.lognormal(0, 0.02, 3), 20)[:, None]
            times = np.array([2.0, 4.0, 8.0, 16.0]) * rng.lognormal(0, 0.03, (60, 4)) * luck
            sides.append(side(measure_at_x=measure(ratios(4.0, i, 3), times)))
        wall = next(d for d in compare(*sides) if d.metric == "latency_p50_ms")
        n_real += wall.is_real
    assert n_real <= 5
