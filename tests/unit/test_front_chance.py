"""How likely a trial is on the front, by what chance does to its figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from search.analysis.front import chances_on_front, front_numbers
from search.error_groups import error_groups
from spaces.metrics import MetricRef
from storage.records import TrialState
from workers.measure.intervals import half_width, interval

WER, TIME, SIZE = (MetricRef(n) for n in ("wer", "latency_p95_ms", "size_mb"))
N_WORDS = 400


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    made = pd.DataFrame([{"state": str(TrialState.COMPLETE), **row} for row in rows])
    return made.assign(number=range(len(made)))


def student(errors: np.ndarray, **figures: float) -> dict[str, Any]:
    """One that makes so many errors in each utterance."""
    groups = error_groups([int(e) for e in errors])
    return {"wer": errors.sum() / N_WORDS, "error_groups": groups, **figures}


def spread(seed: int, mean: float) -> np.ndarray:
    return np.random.default_rng(seed).poisson(mean, 100)


def test_a_smaller_student_that_makes_fewer_errors_for_sure_takes_the_front() -> None:
    few, many = spread(0, 0.2), spread(1, 1.5)
    made = frame(student(few, size_mb=1.0), student(many, size_mb=2.0))
    assert chances_on_front(made, [WER, SIZE]).tolist() == [1.0, 0.0]
    assert front_numbers(made, [WER, SIZE]) == [0]


def test_a_larger_student_that_is_better_by_luck_is_on_the_front_in_about_half_the_draws() -> None:
    errors = spread(0, 0.5)
    lucky = errors.copy()
    lucky[lucky.argmax()] -= 1  # one word in a hundred utterances
    other = np.roll(errors, 1)  # as many, elsewhere
    small, large = student(other, size_mb=1.0), student(lucky, size_mb=2.0)
    chances = chances_on_front(frame(small, large), [WER, SIZE])
    assert chances[0] == 1.0
    assert 0.3 < chances[1] < 0.8


def test_the_same_errors_in_the_same_utterances_are_told_apart_by_one_word() -> None:
    errors = spread(0, 0.5)
    fewer = np.maximum(errors - 1, 0)  # never more than the other: sure, however few words
    chances = chances_on_front(
        frame(student(errors, size_mb=1.0), student(fewer, size_mb=2.0)), [WER, SIZE]
    )
    assert chances.tolist() == [1.0, 1.0]


def test_times_that_differ_by_less_than_their_intervals_are_ties_that_size_decides() -> None:
    errors = spread(0, 0.5)
    ends = {"latency_p95_ms_low": 2.8, "latency_p95_ms_high": 3.2}
    small = student(errors, size_mb=1.0, latency_p95_ms=3.05, **ends)
    large = student(errors, size_mb=2.0, latency_p95_ms=2.95, **ends)
    assert front_numbers(frame(small, large), [WER, TIME, SIZE]) == [0]
    faster = {**large, "latency_p95_ms": 1.5, "latency_p95_ms_low": 1.4, "latency_p95_ms_high": 1.6}
    assert set(front_numbers(frame(small, faster), [WER, TIME, SIZE])) == {0, 1}


def test_times_without_intervals_are_taken_for_what_hours_make_of_them() -> None:
    errors = spread(0, 0.5)
    width = half_width("latency_p95_ms")
    within, beyond = 3.0 * np.exp(width), 3.0 * np.exp(-2 * width)
    small = student(errors, size_mb=1.0, latency_p95_ms=3.0)
    assert front_numbers(
        frame(small, student(errors, size_mb=2.0, latency_p95_ms=within)), [WER, TIME, SIZE]
    ) == [0]
    assert set(
        front_numbers(
            frame(small, student(errors, size_mb=2.0, latency_p95_ms=beyond)), [WER, TIME, SIZE]
        )
    ) == {0, 1}


def test_measuring_again_within_the_intervals_draws_the_same_front() -> None:
    rng = np.random.default_rng(7)
    students = [
        student(spread(i, 0.3 + 0.2 * i), size_mb=3.0 - 0.5 * i, latency_p95_ms=3.0)
        for i in range(5)
    ]
    fronts = set()
    for _ in range(20):
        again = [{**s, "latency_p95_ms": 3.0 * float(rng.normal(1, 0.02))} for s in students]
        fronts.add(tuple(sorted(front_numbers(frame(*again), [WER, TIME, SIZE]))))
    assert len(fronts) == 1


def test_where_chance_leaves_no_member_the_likeliest_is_shown() -> None:
    equal = [student(np.roll(spread(0, 0.5), i), size_mb=1.0) for i in range(1, 8)]
    members = front_numbers(frame(*equal), [WER])
    assert len(members) == 1


def test_of_equal_trials_the_first_counts_and_one_that_is_not_complete_does_not() -> None:
    errors = spread(0, 0.5)
    made = frame(student(errors, size_mb=1.0), student(errors, size_mb=1.0))
    assert chances_on_front(made, [WER, SIZE]).tolist() == [1.0, 0.0]
    made["state"] = [str(TrialState.INFEASIBLE), str(TrialState.COMPLETE)]
    assert front_numbers(made, [WER, SIZE]) == [1]


def test_thousands_of_trials_have_the_front_that_the_few_near_it_have() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(3000):
        size_mb = float(rng.uniform(0.5, 5))
        errors = rng.poisson(0.3 + rng.uniform(0, 2) + 0.5 / size_mb, 100)
        rows.append(student(errors, size_mb=size_mb, latency_p95_ms=size_mb * 2))
    made = frame(*rows)
    chances = chances_on_front(made, [WER, TIME, SIZE])
    near = made[made["number"].isin(chances[chances > 0].index)]
    assert len(near) < 600
    assert front_numbers(near, [WER, TIME, SIZE]) == front_numbers(made, [WER, TIME, SIZE])


@pytest.mark.parametrize("metric", ["latency_p95_ms", "graph_p50_ms", "cold_start_ms"])
def test_an_interval_holds_its_figure_and_is_wider_where_restarts_differ_or_were_disturbed(
    metric: str,
) -> None:
    def width(restarts: list[float], **quiet: bool) -> float:
        low, high = interval(metric, 3.0, restarts, **quiet)
        assert low < 3.0 < high
        return high / low

    steady = width([3.0, 3.0, 3.0])
    assert width([2.0, 3.0, 4.0]) > steady
    assert width([3.0, 3.0, 3.0], is_unsteady=True) > steady
    assert width([]) == steady
