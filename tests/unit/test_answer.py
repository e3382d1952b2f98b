"""Which student to ship, and how that is said."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from search.analysis.answer import Answer, answer_of, trial_to_ship
from search.analysis.pick import parse_where
from search.errors import UsageFault
from search.report.answer import answer_line, others_line, rule_line, settled_line
from storage.records import TrialState

Row = tuple[float, float, float]  # WER, MB, p95 ms
# 64 groups of utterances of 16 words; errors are spread over them alike
_GROUPS, _WORDS = 64, 1024


def _groups(wer: float, shift: int = 0) -> tuple[int, ...]:
    errors = round(wer * _WORDS)
    counts = [errors // _GROUPS + (i < errors % _GROUPS) for i in range(_GROUPS)]
    return tuple(counts[shift:] + counts[:shift])


def _frame(rows: Sequence[Row], **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "number": range(len(rows)),
            "label": [f"student {i}" for i in range(len(rows))],
            "state": str(TrialState.COMPLETE),
            "finished_at": [float(i) for i in range(len(rows))],
            "on_front": True,
            "wer": [wer for wer, _, _ in rows],
            "wer_low": [wer - 0.03 for wer, _, _ in rows],
            "wer_high": [wer + 0.03 for wer, _, _ in rows],
            "error_groups": pd.Series([_groups(r[0], 7 * i) for i, r in enumerate(rows)]),
            "size_mb": [mb for _, mb, _ in rows],
            "latency_p50_ms": [ms / 2 for _, _, ms in rows],
            "latency_p95_ms": [ms for _, _, ms in rows],
        }
    )
    return frame.assign(**columns)


ROWS = [(0.100, 4.0, 20.0), (0.105, 2.0, 12.0), (0.103, 3.0, 30.0), (0.300, 0.5, 4.0)]


def _answer(frame: pd.DataFrame, where: str = "", **options: str) -> Answer:
    answer = answer_of(frame, parse_where(where) if where else (), **options)
    assert answer is not None
    return answer


def test_the_answer_is_the_smallest_of_those_not_told_from_the_fewest_errors() -> None:
    answer = _answer(_frame(ROWS))
    assert (answer.number, answer.n_tied, answer.n_within) == (1, 3, 4)
    assert answer.fewest is not None
    assert (answer.fewest.number, answer.fewest.larger) == (0, pytest.approx(1.0))
    assert answer.fewest.low < 0 < answer.fewest.high
    assert answer.below is not None
    assert answer.below.number == 3
    assert answer.below.low > 0


def test_budgets_leave_out_what_breaks_them() -> None:
    answer = _answer(_frame(ROWS), "latency_p95_ms<=10")
    assert (answer.number, answer.n_within, answer.n_complete) == (3, 1, 4)
    assert answer.below is None
    assert answer_of(_frame(ROWS), parse_where("size_mb<=0.1")) is None


def test_the_fastest_is_chosen_by_time_and_like_times_are_decided_by_size() -> None:
    rows = [(0.100, 4.0, 10.0), (0.100, 2.0, 10.1), (0.100, 1.0, 40.0)]
    answer = _answer(_frame(rows), by="latency_p95_ms")
    assert answer.number == 1
    assert "the smallest of those not told apart from the fastest of the 3" in rule_line(answer)
    assert answer.below is None  # trial 0 is faster by nothing that one can tell


def test_it_is_said_with_figures_and_what_the_others_would_bring() -> None:
    answer = _answer(_frame(ROWS))
    assert answer_line(answer) == (
        "Ship trial 1: 2 MB, 10.5% WER (7.5 to 13.5%), p95 12 ms, steady."
    )
    assert others_line(answer).startswith(
        "Trial 0 makes 0.5 points fewer errors, within noise, and is 100% larger. "
        "Trial 3 is 75% smaller and makes 19.5 points more errors (95 %: +"
    )
    assert rule_line(answer) == (
        "Rule: the smallest of the 3 whose errors this dev set does not tell from the fewest (in "
        "pairs, 95 %), of 4 within the budgets (4 complete)."
    )


def test_where_it_makes_the_fewest_errors_nothing_else_is_said_to() -> None:
    answer = _answer(_frame([(0.1, 1.0, 9.0), (0.4, 2.0, 9.0)]))
    assert others_line(answer) == "None makes fewer errors. None of the front is smaller."


def test_under_budgets_nothing_is_said_of_what_is_beyond_them() -> None:
    rows = [(0.10, 1.0, 9.0), (0.05, 8.0, 9.0), (0.4, 0.5, 9.0)]
    answer = _answer(_frame(rows), "size_mb<=5 and latency_p50_ms<=20")
    assert others_line(answer).startswith("None within the budgets makes fewer errors.")
    assert answer_line(answer).count("1 MB") == 1
    assert "latency p50 4.5 ms" in answer_line(answer)


def test_a_limit_on_another_target_is_named_by_it() -> None:
    frame = _frame(ROWS, **{"latency_p95_ms@pi5": [80.0, 60.0, 40.0, 20.0]})
    said = answer_line(_answer(frame, "latency_p95_ms@pi5<=70"))
    assert "p95 12 ms, latency p95 on pi5 60 ms" in said


def test_nothing_is_shipped_where_nothing_was_measured() -> None:
    assert answer_of(_frame(ROWS), target="phone") is None
    with pytest.raises(UsageFault, match="no complete trial was measured on phone"):
        trial_to_ship(_frame(ROWS), target="phone")


def test_a_phone_that_times_networks_alone_has_its_fastest() -> None:
    times = {f"graph_{p}_ms@phone": [8.0, 2.0, 4.0, 1.0] for p in ("p50", "p95")}
    answer = _answer(_frame(ROWS, **times), target="phone", by="latency_p95_ms")
    assert answer.number == 1


def test_times_that_were_not_taken_in_quiet_are_said_to_be_unsteady() -> None:
    answer = _answer(_frame(ROWS, unsteady=[0.0, 1.0, 0.0, 0.0]))
    assert answer_line(answer).endswith("p95 12 ms, times unsteady.")


def test_students_that_write_nothing_right_are_not_recommended() -> None:
    said = answer_line(_answer(_frame([(1.0, 2.0, 9.0), (1.2, 1.0, 9.0)])))
    assert said.startswith("Ship none of these: trial 0 makes as few errors as any")


def test_what_is_to_be_shipped_is_exported_under_a_condition() -> None:
    assert trial_to_ship(_frame(ROWS)) == 1
    assert trial_to_ship(_frame(ROWS), "size_mb<=1") == 3
    with pytest.raises(UsageFault, match=r"no complete trial meets size_mb<=0.1 \(size_mb: best"):
        trial_to_ship(_frame(ROWS), "size_mb<=0.1")


def test_on_another_target_its_own_times_count() -> None:
    ms = {"latency_p50_ms@pi5": [40.0, 30.0, 20.0, float("nan")]}
    frame = _frame(ROWS, **ms, **{"latency_p95_ms@pi5": [80.0, 60.0, 40.0, float("nan")]})
    answer = _answer(frame, target="pi5", by="latency_p95_ms")
    assert (answer.number, answer.n_within) == (2, 3)
    assert answer_line(answer).startswith("Ship trial 2 on pi5: 3 MB, ")
    assert "p95 40 ms" in answer_line(answer)


def test_how_settled_it_is_counts_the_trials_since_it_became_the_answer() -> None:
    later = [(0.5 + 0.01 * i, 9.0, 9.0) for i in range(5)]
    answer = _answer(_frame([*ROWS[:2], *later]))
    assert answer.number == 1
    assert 1 <= answer.stands <= 5
    assert "3 trials are still to come" in settled_line(answer, 3)
    assert _answer(_frame(ROWS[:2])).stands == 0
