"""Figures are sums over restarts; a restart that was disturbed is taken again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from workers.measure.latency import Latency, measure_latency
from workers.probe.request import Candidate, LatencyRequest, ProcessSample, process_samples_of

AUDIO_S = (2.0, 6.0)
N_PASSES = 8


def rows(*of_each: float) -> list[list[float]]:
    """The same time for an utterance in every pass."""
    return [list(of_each)] * N_PASSES


def restart(ms: float = 10.0, **changed: Any) -> ProcessSample:
    """Two utterances, of which the second takes three times as long."""
    given: dict[str, Any] = {
        "end_to_end_ms": rows(ms, 3 * ms),
        "features_ms": rows(2.0, 6.0),
        "model_ms": rows(7.0, 21.0),
        "decode_ms": rows(0.8, 2.4),
        "graph_cpu_ms": rows(6.0, 18.0),
        "anchor_cpu_ms": rows(1.5, 1.5),
        "load_ms": 40.0,
        "first_ms": 25.0,
        "peak_memory_mb": 12.0,
        "unsteady": [],
        "machine": {"cores": 4},
        "texts": ["a", "b"],
        "peak_gflops": 50.0,
        "energy_mj": None,
        "profile": None,
    }
    return ProcessSample(**{**given, **changed})


GRAPH_ONLY: dict[str, Any] = {
    **{
        name: []
        for name in (
            "end_to_end_ms", "features_ms", "decode_ms", "graph_cpu_ms", "anchor_cpu_ms", "texts"
        )
    },
    **dict.fromkeys(("load_ms", "first_ms", "peak_memory_mb", "peak_gflops")),
}  # fmt: skip


# figures


def test_every_figure_follows_from_the_samples() -> None:
    figures = Latency((restart(),) * 3, AUDIO_S).summary(macs_per_s=1e9)
    assert figures.pop("streams") > 1
    assert figures == pytest.approx(
        {
            "latency_p5_ms": 10.0,
            "latency_p50_ms": 20.0,
            "latency_p95_ms": 30.0,
            "latency_p99_ms": 30.0,
            "tail_factor": 1.5,
            "features_p50_ms": 4.0,
            "graph_p50_ms": 14.0,
            "graph_p95_ms": 21.0,
            "decode_p50_ms": 1.6,
            "graph_cpu_ms": 12.0,
            "anchor_ratio": 8.0,
            "sum_check": 0.98,
            "rtf": 0.04 / 8,
            "throughput": 8 / 0.04,
            "load_ms": 40.0,
            "cold_start_ms": 65.0,
            "peak_memory_mb": 12.0,
            # 2 × 10^9 operations a second, 8 s of audio, done in 28 ms, of 50 × 10^9 a second
            "utilisation": 2e9 * 8 / 0.028 / 50e9,
        }
    )


def test_the_anchor_takes_out_what_slowed_both() -> None:
    slowed = restart(graph_cpu_ms=rows(12.0, 36.0), anchor_cpu_ms=rows(3.0, 3.0))
    assert slowed.anchor_ratio == pytest.approx(restart().anchor_ratio)
    assert slowed.anchor_ms == 3.0


def test_the_anchor_ratio_leans_on_the_quicker_runs() -> None:
    disturbed = rows(6.0, 18.0)[: N_PASSES // 2 + 2] + [[60.0, 180.0]] * (N_PASSES // 2 - 2)
    assert restart(graph_cpu_ms=disturbed).anchor_ratio == pytest.approx(8.0)


def test_the_anchor_ratio_of_several_restarts_is_the_middle_one() -> None:
    ratios = [restart(anchor_cpu_ms=rows(ms, ms)) for ms in (1.5, 3.0, 1.0)]
    assert Latency(tuple(ratios), AUDIO_S).anchor_ratio == pytest.approx(8.0)


def test_figures_of_several_restarts_are_pooled_or_their_median() -> None:
    restarts = (
        restart(10, load_ms=10.0),
        restart(10, load_ms=90.0, energy_mj=5.0),
        restart(100, load_ms=20.0),
    )
    figures = Latency(restarts, AUDIO_S).summary()
    assert figures["load_ms"] == 20.0
    assert figures["energy_mj"] == 5.0
    assert figures["latency_p50_ms"] == 20.0  # of the medians of three utterances: 10, 20 and 30
    assert figures["latency_p99_ms"] == 300.0


def test_a_device_that_times_the_network_alone_tells_two_figures() -> None:
    figures = Latency((restart(**GRAPH_ONLY),), AUDIO_S).summary(macs_per_s=1e9)
    assert figures == {"graph_p50_ms": 14.0, "graph_p95_ms": 21.0}


@pytest.mark.parametrize(
    ("lacking", "figures"),
    [
        ("load_ms", {"load_ms", "cold_start_ms"}),
        ("first_ms", {"cold_start_ms"}),
        ("peak_memory_mb", {"peak_memory_mb"}),
        ("peak_gflops", {"utilisation"}),
    ],
)
def test_what_a_device_does_not_tell_is_left_out_and_nothing_else(
    lacking: str, figures: set[str]
) -> None:
    full = Latency((restart(),), AUDIO_S).summary(1e9)
    assert set(full) - set(Latency((restart(**{lacking: None}),), AUDIO_S).summary(1e9)) == figures


def test_utilisation_needs_the_cost_of_the_network() -> None:
    assert "utilisation" not in Latency((restart(),), AUDIO_S).summary()


def test_streams_are_counted_against_the_limit_of_the_target() -> None:
    latency = Latency((restart(100.0),), AUDIO_S)
    assert latency.summary(stream_limit_ms=250.0)["streams"] == 0  # one answer takes 300 ms
    assert latency.summary(stream_limit_ms=1000.0)["streams"] >= 1


def test_the_profile_is_that_of_the_restart_that_took_one() -> None:
    taken = [{"name": f"n{i}", "kind": "Conv", "time_ms": 1.0} for i in range(100)]
    profile = Latency((restart(), restart(profile=taken)), AUDIO_S).profile
    assert profile == taken[:60]
    assert Latency((restart(),), AUDIO_S).profile is None


# restarts

REQUEST = LatencyRequest(
    (Candidate("onnxruntime", "model.onnx", "tokens.txt", {}),), ("a.npy", "b.npy"), AUDIO_S
)


class Machine:
    """Gives what it was told to, restart by restart; the last again and again."""

    def __init__(self, *given: ProcessSample | Sequence[ProcessSample]) -> None:
        self.asked: list[LatencyRequest] = []
        self._given = [[g] if isinstance(g, ProcessSample) else list(g) for g in given]

    def __call__(self, request: LatencyRequest) -> list[ProcessSample]:
        self.asked.append(request)
        return self._given[min(len(self.asked), len(self._given)) - 1]


DISTURBED = restart(unsteady=["competing load (1.50 of 4 cores busy with other work)"])


def measured(machine: Machine, request: LatencyRequest = REQUEST) -> Latency:
    (latency,) = measure_latency(request, machine)
    return latency


def test_quiet_restarts_are_taken_once_each() -> None:
    machine = Machine(restart())
    latency = measured(machine)
    assert len(machine.asked) == len(latency.samples) == 3
    assert latency.unsteady == ()


def test_details_are_asked_for_once() -> None:
    machine = Machine(restart())
    measured(machine, replace(REQUEST, details=True))
    assert [r.details for r in machine.asked] == [True, False, False]


@pytest.mark.parametrize("n_disturbed", [1, 2])
def test_a_disturbed_restart_is_taken_again(n_disturbed: int) -> None:
    machine = Machine(*[DISTURBED] * n_disturbed, restart())
    latency = measured(machine)
    assert len(machine.asked) == 3 + n_disturbed
    assert latency.samples == (restart(),) * 3
    assert latency.unsteady == ()


def test_a_restart_that_stays_disturbed_is_kept_after_three_tries_and_says_so() -> None:
    machine = Machine(DISTURBED, DISTURBED, DISTURBED, restart())
    latency = measured(machine)
    assert len(machine.asked) == 5
    assert latency.samples == (DISTURBED, restart(), restart())
    assert latency.unsteady == tuple(DISTURBED.unsteady)


@pytest.mark.parametrize("tries", [1, 2, 4])
def test_a_restart_is_tried_as_often_as_the_target_says(tries: int) -> None:
    machine = Machine(*[DISTURBED] * 8)
    measured(machine, replace(REQUEST, restarts=1, tries=tries))
    assert len(machine.asked) == tries


def test_on_a_machine_that_gives_no_quiet_later_restarts_are_tried_once() -> None:
    machine = Machine(DISTURBED)
    assert measured(machine).samples == (DISTURBED,) * 3
    assert len(machine.asked) == 5


def test_a_reason_is_told_once_however_often_it_was_found() -> None:
    other = replace(DISTURBED, unsteady=["competing load (0.90 of 4 cores …)", "throttled"])
    found = Latency((DISTURBED, other, other), AUDIO_S).unsteady
    assert [reason.partition(" (")[0] for reason in found] == ["competing load", "throttled"]


def test_two_more_restarts_are_taken_where_the_first_differ() -> None:
    machine = Machine(restart(10), restart(11), restart(10))
    latency = measured(machine)
    assert len(machine.asked) == 5
    assert latency.unsteady == ()  # without the quickest and the slowest they agree


def test_restarts_that_differ_all_the_same_are_told() -> None:
    latency = measured(Machine(*[restart(10 + i) for i in range(5)]))
    assert len(latency.samples) == 5
    assert latency.unsteady == ("restarts differ by 18%",)


def test_restarts_of_the_network_alone_are_compared_too() -> None:
    given = [restart(model_ms=rows(ms, ms), **GRAPH_ONLY) for ms in (5.0, 6.0, 7.0, 8.0, 9.0)]
    assert measured(Machine(*given)).unsteady == ("restarts differ by 33%",)


def test_one_restart_is_enough_where_one_is_asked_for() -> None:
    machine = Machine(restart())
    assert len(measured(machine, replace(REQUEST, restarts=1)).samples) == 1


def test_candidates_share_their_restarts() -> None:
    """The second differs, so both are run again: in the same processes."""
    machine = Machine(*[(restart(10), restart(20 + 5 * i)) for i in range(3)])
    request = replace(REQUEST, candidates=REQUEST.candidates * 2)
    one, other = measure_latency(request, machine)
    assert len(machine.asked) == len(one.samples) == len(other.samples) == 5
    assert one.unsteady == ()
    assert np.median(other.pooled("end_to_end_ms")) > np.median(one.pooled("end_to_end_ms"))


# answers


def test_an_answer_is_read_back_as_it_was_given() -> None:
    assert process_samples_of([asdict(restart())]) == [restart()]


@pytest.mark.parametrize("answer", [[{}], [3], [{"end_to_end_ms": []}], ["text"]])
def test_what_is_no_measurement_is_refused(answer: list[Any]) -> None:
    with pytest.raises(ValueError, match="is not a measurement"):
        process_samples_of(answer)
