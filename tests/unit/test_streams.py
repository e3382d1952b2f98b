"""How many people one copy serves, beside a queue that is simulated answer by answer."""

from __future__ import annotations

import heapq
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.measure.streams import concurrent_streams

N_ANSWERS = 6000


def simulated_p99_ms(
    service_ms: list[float], audio_s: list[float], streams: int, seed: int
) -> float:
    """People speak without a pause; one copy answers them in the order in which they end."""
    rng = random.Random(seed)
    ends: list[tuple[float, int, int]] = []  # when an utterance ends, of whom, which
    for who in range(streams):
        which = rng.randrange(len(service_ms))
        heapq.heappush(ends, (rng.random() * audio_s[which], who, which))
    free_s, waited_ms = 0.0, []
    for _ in range(N_ANSWERS):
        ended_s, who, which = heapq.heappop(ends)
        free_s = max(free_s, ended_s) + service_ms[which] / 1000
        waited_ms.append((free_s - ended_s) * 1000)
        following = rng.randrange(len(service_ms))
        heapq.heappush(ends, (ended_s + audio_s[following], who, following))
    return sorted(waited_ms)[int(0.99 * N_ANSWERS)]


def simulated_streams(service_ms: list[float], audio_s: list[float], limit_ms: float) -> float:
    """Middle of a few simulations, each by trying one more stream at a time."""
    found = []
    for seed in range(3):
        streams = 0
        while simulated_p99_ms(service_ms, audio_s, streams + 1, seed) <= limit_ms:
            streams += 1
        found.append(streams)
    return sorted(found)[1]


@pytest.mark.parametrize(
    ("service_ms", "audio_s", "limit_ms"),
    [
        ([100.0] * 5, [1.13, 1.71, 2.39, 3.17, 4.91], 300.0),
        ([100.0] * 5, [1.13, 1.71, 2.39, 3.17, 4.91], 150.0),
        ([40.0, 80.0, 200.0], [1.07, 2.31, 5.23], 500.0),
        ([50.0, 60.0, 400.0], [0.93, 1.61, 4.27], 450.0),
        ([9.0, 15.0, 20.0, 31.0], [1.3, 2.2, 3.1, 5.3], 100.0),
        ([350.0, 700.0], [0.53, 1.01], 750.0),
    ],
)
def test_the_number_of_streams_is_that_of_a_simulated_queue(
    service_ms: list[float], audio_s: list[float], limit_ms: float
) -> None:
    found = concurrent_streams(np.array(service_ms), np.array(audio_s), limit_ms)
    expected = simulated_streams(service_ms, audio_s, limit_ms)
    assert abs(found - expected) <= max(1, 0.15 * expected)


def test_one_who_speaks_alone_never_waits() -> None:
    assert concurrent_streams(np.array([900.0]), np.array([1.0]), 900.1) == 1


@pytest.mark.parametrize("limit_ms", [1000.0, 20_000.0, 1e9])
def test_no_limit_is_wide_enough_for_more_work_than_there_is_time(limit_ms: float) -> None:
    found = concurrent_streams(np.array([10.0, 20.0]), np.array([1.0, 2.0]), limit_ms)
    assert 80 <= found <= 100
    assert concurrent_streams(np.array([1010.0]), np.array([1.0]), limit_ms) == 0


@pytest.mark.parametrize("service_ms", [[301.0], [10.0, 10.0, 301.0], [1e6]])
def test_no_stream_is_served_where_a_single_answer_is_over_the_limit(
    service_ms: list[float],
) -> None:
    assert concurrent_streams(np.array(service_ms), np.full(len(service_ms), 2.0), 300.0) == 0


times = st.lists(st.floats(1.0, 400.0), min_size=1, max_size=6)


@given(service_ms=times, limits_ms=st.tuples(st.floats(1, 2000), st.floats(1, 2000)))
@settings(max_examples=40)
def test_a_wider_limit_never_serves_fewer(
    service_ms: list[float], limits_ms: tuple[float, float]
) -> None:
    low, high = sorted(limits_ms)
    service, audio_s = np.array(service_ms), np.linspace(1, 6, len(service_ms))
    assert concurrent_streams(service, audio_s, low) <= concurrent_streams(service, audio_s, high)


@given(service_ms=times, factor=st.floats(1.0, 4.0))
@settings(max_examples=40)
def test_a_slower_model_never_serves_more(service_ms: list[float], factor: float) -> None:
    service, audio_s = np.array(service_ms), np.linspace(1, 6, len(service_ms))
    slower = concurrent_streams(service * factor, audio_s, 300.0)
    assert slower <= concurrent_streams(service, audio_s, 300.0)
