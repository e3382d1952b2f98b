"""What was disturbed says so, what was quiet does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workers.probe.machine import LoadReport
from workers.probe.steadiness import half_interval, second_mode, unsteady

N_PASSES, CORES = 40, 4
LENGTHS_MS = np.array([3.0, 5.0, 8.0, 13.0, 21.0])
QUIET = LoadReport(
    others_load=0.02, stolen_share=0.0, frequency_ratio=1.0, throttled=False, temperature_c=55.0
)


def samples(seed: int = 0, spread: float = 0.01) -> np.ndarray:
    """Times of five utterances, each with a little skewed noise."""
    noise = np.random.default_rng(seed).lognormal(0, spread, (N_PASSES, len(LENGTHS_MS)))
    return LENGTHS_MS * noise


def told(
    taken: np.ndarray, watched: LoadReport = QUIET, wall_over_cpu: float | None = 1.01
) -> tuple[str, ...]:
    return unsteady(taken, watched, CORES, wall_over_cpu)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("spread", [0.0, 0.005, 0.03])
def test_steady_samples_give_no_reason(seed: int, spread: float) -> None:
    assert told(samples(seed, spread)) == ()


def test_utterances_of_different_lengths_are_no_modes_and_no_drift() -> None:
    assert told(np.tile(np.array([1.0, 100.0]), (N_PASSES, 1))) == ()


@pytest.mark.parametrize(("end", "said"), [(1.12, "drift (+8%"), (0.9, "drift (-7%")])
def test_samples_that_grow_or_shrink_drift(end: float, said: str) -> None:
    drifting = samples() * np.linspace(1, end, N_PASSES)[:, None]
    (reason,) = told(drifting)
    assert reason.startswith(said)


def test_samples_that_fall_in_two_heaps_have_two_modes() -> None:
    slow = np.random.default_rng(1).random((N_PASSES, len(LENGTHS_MS))) < 0.3
    (reason,) = told(samples() * np.where(slow, 1.4, 1.0))
    share = round(100 * slow.mean())
    assert reason.startswith("two modes (")
    assert f"{share}%" in reason or f"{share - 1}%" in reason or f"{share - 2}%" in reason


def test_a_few_slow_runs_are_outliers_and_no_mode() -> None:
    taken = samples()
    taken[::10] *= 1.4
    assert told(taken) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"others_load": 0.5}, "competing load (0.50 of 4 cores busy with other work)"),
        ({"stolen_share": 0.11}, "the virtual machine was held back (11% of a core)"),
        ({"throttled": True}, "the processor throttled itself"),
        ({"frequency_ratio": 0.8}, "the clock fell to 80%"),
    ],
)
def test_what_went_on_beside_a_measurement_is_told(change: dict[str, float], said: str) -> None:
    assert told(samples(), replace(QUIET, **change)) == (said,)


def test_a_thread_that_was_not_alone_on_its_core_is_told() -> None:
    assert told(samples(), wall_over_cpu=1.5) == ("not alone on its core (wall 1.50 × CPU time)",)


def test_every_reason_is_told_of_a_run_with_several() -> None:
    watched = replace(QUIET, others_load=2.0, throttled=True)
    assert len(told(samples() * np.linspace(1, 1.2, N_PASSES)[:, None], watched, 2.0)) == 4


def test_what_a_system_does_not_tell_is_no_reason() -> None:
    nothing = LoadReport(None, None, None, False, None)
    assert told(samples(), nothing, None) == ()


@pytest.mark.parametrize(
    "change", [{"others_load": 0.3}, {"stolen_share": 0.04}, {"frequency_ratio": 0.95}]
)
def test_a_little_of_everything_is_no_reason(change: dict[str, float]) -> None:
    assert told(samples(), replace(QUIET, **change), 1.1) == ()


@pytest.mark.parametrize("n", [30, 61, 200])
def test_the_interval_holds_the_true_median_of_skewed_noise_in_95_of_100_draws(n: int) -> None:
    n_draws = 400
    covered = 0
    for seed in range(n_draws):
        drawn = np.random.default_rng([n, seed]).lognormal(0, 0.1, (n, 1))
        median = float(np.median(drawn))
        covered += abs(1 - median) <= half_interval(drawn) * median
    assert 0.925 <= covered / n_draws <= 0.985


def test_the_interval_narrows_with_the_number_of_runs() -> None:
    drawn = np.random.default_rng(0).lognormal(0, 0.1, (4096, 1))
    few, more, many = (half_interval(drawn[:n]) for n in (64, 512, 4096))
    assert few > more > many


@pytest.mark.parametrize("n", range(1, 6))
def test_fewer_than_six_runs_tell_nothing_of_a_median(n: int) -> None:
    assert half_interval(np.ones((n, 1))) == float("inf")
    assert half_interval(np.ones((6, 1))) == 0


@pytest.mark.parametrize("n", [60, 300, 2000])
@pytest.mark.parametrize("shape", ["uniform", "normal", "skewed", "very skewed", "constant"])
def test_samples_of_one_heap_have_one_mode(shape: str, n: int) -> None:
    for seed in range(30):
        rng = np.random.default_rng([n, seed])
        drawn = {
            "uniform": rng.uniform(1.0, 2.0, n),
            "normal": rng.normal(1.0, 0.1, n),
            "skewed": rng.lognormal(0, 0.2, n),
            "very skewed": 1 + rng.exponential(0.5, n),
            "constant": np.full(n, 1.1),
        }[shape]
        slower, share = second_mode(drawn)
        assert slower == pytest.approx(1.0) or share < 0.15, (seed, slower, share)


def test_the_slower_of_two_modes_is_measured() -> None:
    rng = np.random.default_rng(0)
    drawn = np.where(rng.random(3000) < 0.25, 1.5, 1.0) * rng.lognormal(0, 0.02, 3000)
    slower, share = second_mode(drawn)
    assert slower == pytest.approx(1.5, rel=0.02)
    assert share == pytest.approx(0.25, abs=0.03)
