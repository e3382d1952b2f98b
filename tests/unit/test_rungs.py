"""Who goes on at a rung, who is stopped, and what the sampler is told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from trials import trial_of

from search.error_groups import error_groups
from search.policy import AS_MEASURED, DETERMINISTIC
from search.strategy.moves import Stop
from search.strategy.rungs import at_rung, late_promotion, promoted, rung_of, with_predictions
from spaces.space import Space
from storage.records import Rung, Trial, TrialState
from workers.results import RungScore

N_WORDS = 640


@pytest.fixture
def space(make_space: Callable[..., Space]) -> Space:
    return make_space(objectives=["wer", "latency_p95_ms", "size_mb"], search={"rungs": [0.3, 0.6]})


def at(share: float, errors_each: int, **changes: object) -> Rung:
    """Of 64 groups of ten words each."""
    wer = 64 * errors_each / N_WORDS
    given = {"epoch": round(10 * share), "epochs": 10, "wer": wer, "errors": (errors_each,) * 64}
    return Rung(share=share, **{**given, **changes})  # type: ignore[arg-type]


def trial(
    number: int,
    rungs: tuple[Rung, ...],
    *,
    size_mb: float = 1.0,
    p95_ms: float = 3.0,
    state: TrialState = TrialState.RUNNING,
    values: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Trial:
    costs = {"size_mb": size_mb, "latency_p95_ms": p95_ms}
    rungs = tuple(replace(rung, costs=rung.costs or costs) for rung in rungs)
    given = {"metrics": costs, "state": state, "rungs": rungs, **changes}
    return trial_of(number, {"family": "separable_conv", **(values or {})}, **given)


def is_stopped(one: Trial, *others: Trial) -> bool:
    move, _ = at_rung(one, [one, *others])
    return isinstance(move, Stop)


def test_the_first_at_a_rung_goes_on(space: Space) -> None:
    assert not is_stopped(trial(0, (at(0.3, 9),)))


def test_who_is_surely_worse_than_one_no_larger_and_no_slower_is_stopped(space: Space) -> None:
    weak, good = trial(1, (at(0.3, 5),)), trial(0, (at(0.3, 2),))
    move, beaten = at_rung(weak, [good, weak])
    assert isinstance(move, Stop)
    assert beaten is not None
    assert beaten.by == 0
    assert move.reason == (
        "after 3 of 10 epochs: WER 50.0% there; trial 0, no larger or slower, made 30.0 points "
        "fewer errors (chance explains 12.6)"
    )
    assert not is_stopped(good, weak)


@pytest.mark.parametrize("better", [{"size_mb": 2.0}, {"p95_ms": 6.0}])
def test_a_larger_or_slower_student_stops_nobody(space: Space, better: dict[str, float]) -> None:
    assert not is_stopped(trial(1, (at(0.3, 5),)), trial(0, (at(0.3, 2),), **better))


def test_one_that_is_larger_by_no_more_than_anybody_cares_stops_it(space: Space) -> None:
    assert is_stopped(trial(1, (at(0.3, 5),)), trial(0, (at(0.3, 2),), size_mb=1.05))


def test_a_difference_that_chance_explains_stops_nobody(space: Space) -> None:
    uneven = tuple(0 if group % 2 else 9 for group in range(64))  # 4.5 each on average
    lucky = at(0.3, 0, errors=uneven, wer=sum(uneven) / N_WORDS)
    assert not is_stopped(trial(1, (at(0.3, 5),)), trial(0, (lucky,)))


def test_what_the_epochs_to_come_may_turn_round_stops_nobody() -> None:
    assert not is_stopped(trial(1, (at(0.3, 5),)), trial(0, (at(0.3, 4),)))


def test_how_much_that_is_a_study_learns_from_its_finished_trials() -> None:
    def finished(number: int, ratio: float) -> Trial:
        wer = at(0.3, 9).wer * ratio
        metrics = {"wer": wer, "size_mb": 9.0, "latency_p95_ms": 9.0}
        return trial(
            number,
            (at(0.3, 9),),
            size_mb=9.0,
            p95_ms=9.0,
            state=TrialState.COMPLETE,
            metrics=metrics,
            objective_values=(wer, 9.0, 9.0),
        )

    one, other = trial(1, (at(0.3, 5),)), trial(0, (at(0.3, 4),))
    alike = [finished(n, 0.5) for n in range(2, 120)]
    assert is_stopped(one, other, *alike)
    apart = [finished(n, 0.2 if n % 2 else 0.9) for n in range(2, 120)]
    assert not is_stopped(trial(1, (at(0.3, 5),)), trial(0, (at(0.3, 2),)), *apart)


def test_only_scores_of_the_same_rung_are_compared(space: Space) -> None:
    assert not is_stopped(trial(1, (at(0.3, 5),)), trial(0, (at(0.6, 2),)))
    both = trial(0, (at(0.3, 2), at(0.6, 2)))
    assert is_stopped(trial(1, (at(0.3, 2), at(0.6, 5))), both)


@pytest.mark.parametrize("state", ["failed", "cancelled", "infeasible"])
def test_who_ended_badly_stops_nobody(space: Space, state: str) -> None:
    gone = trial(0, (at(0.3, 2),), state=TrialState(state))
    assert not is_stopped(trial(1, (at(0.3, 5),)), gone)


def test_one_that_has_still_to_be_pruned_more_stops_nobody(space: Space) -> None:
    pruned = {"family": "separable_conv", "prune.ratio": 0.5}
    other = trial(0, (at(0.3, 2),), values=pruned)
    assert not is_stopped(trial(1, (at(0.3, 5),)), other)
    assert is_stopped(trial(1, (at(0.3, 5),), values=pruned), trial(0, (at(0.3, 2),)))


def test_who_a_person_promoted_or_whose_network_is_trained_goes_to_the_end(space: Space) -> None:
    good = trial(0, (at(0.3, 1), at(0.6, 1)))
    by_hand = (at(0.3, 5, promoted="hand"), at(0.6, 5))
    assert not is_stopped(trial(1, by_hand), good)
    assert not is_stopped(trial(1, (at(0.3, 5),), source="format"), good)


def test_costs_are_those_of_the_screening_less_is_better(make_space: Callable[..., Space]) -> None:
    space = make_space(objectives=["wer", "throughput", "size_mb"], search={"rungs": [0.3]})
    screened = {"size_mb": 0.2, "throughput": 50.0, "params": 2e5, "macs": 4e6}
    score = RungScore(epoch=3, epochs=9, errors=(1, 2), wer=0.5, cpu_s=1.0)
    rung = rung_of(space, AS_MEASURED, 0.3, score, screened)
    assert rung.costs == {"throughput": 0.02, "size_mb": 0.2}
    fixed = rung_of(space, DETERMINISTIC, 0.3, score, screened)
    assert fixed.costs == {"macs": 4e6, "size_mb": 0.2}


def test_in_every_format_networks_are_compared_not_files(make_space: Callable[..., Space]) -> None:
    space = make_space(objectives=["wer", "size_mb"], search={"rungs": [0.3], "formats": "all"})
    score = RungScore(epoch=3, epochs=9, errors=(1, 2), wer=0.5, cpu_s=1.0)
    rung = rung_of(space, AS_MEASURED, 0.3, score, {"size_mb": 0.2, "params": 2e5})
    assert rung.costs == {"params": 2e5}


def test_a_stopped_trial_is_taken_up_when_its_better_failed(space: Space) -> None:
    stopped = trial(1, (at(0.3, 5, beaten_by=0),), state=TrialState.STOPPED)
    good = trial(0, (at(0.3, 2),))
    assert late_promotion(AS_MEASURED, 2, [good, stopped]) is None
    failed = trial(0, (at(0.3, 2),), state=TrialState.FAILED)
    assert late_promotion(AS_MEASURED, 2, [failed, stopped]) == 1
    another = trial(2, (at(0.3, 2),))
    assert late_promotion(AS_MEASURED, 3, [failed, stopped, another]) is None


def test_a_deterministic_study_takes_up_none_in_mid_generation(space: Space) -> None:
    stopped = trial(4, (at(0.3, 5, beaten_by=0),), state=TrialState.STOPPED)
    failed = trial(0, (at(0.3, 2),), state=TrialState.FAILED)
    assert late_promotion(DETERMINISTIC, 7, [failed, stopped]) is None
    assert late_promotion(DETERMINISTIC, 8, [failed, stopped]) == 4


def test_a_promotion_by_hand_is_written_at_the_last_rung() -> None:
    rungs = promoted((at(0.3, 2, promoted="rule"), at(0.6, 5, beaten_by=3)), "hand")
    assert [(r.promoted, r.beaten_by) for r in rungs] == [("rule", None), ("hand", None)]


def test_the_sampler_is_told_what_a_stopped_trial_would_have_come_to(space: Space) -> None:
    def done(number: int, at_rung: int, wer: float) -> Trial:
        metrics = {"wer": wer, "size_mb": 1.0, "latency_p95_ms": 3.0}
        return trial(
            number,
            (at(0.3, at_rung),),
            state=TrialState.COMPLETE,
            metrics=metrics,
            objective_values=(wer, 3.0, 1.0),
        )

    stopped = trial(9, (at(0.3, 4),), state=TrialState.STOPPED, size_mb=0.5)
    two = [done(0, 5, 0.25), done(1, 4, 0.2)]
    assert with_predictions(space, AS_MEASURED, [*two, stopped])[-1].objective_values is None
    three = [*two, done(2, 2, 0.09)]  # ratios .5, .5 and .45
    told = with_predictions(space, AS_MEASURED, [*three, stopped])
    assert told[-1].objective_values == pytest.approx((0.2, 3.0, 0.5))
    assert told[:3] == three
    assert stopped.objective_values is None


def test_errors_are_kept_in_groups_of_utterances() -> None:
    groups = error_groups([1] * 130)
    assert len(groups) == 64
    assert sum(groups) == 130
    assert max(groups) - min(groups) == 1
    assert error_groups([3, 0, 2]) == (3, 0, 2)
    assert error_groups([]) == ()
