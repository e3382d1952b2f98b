"""The policy of a front: it falls to a smaller member under load, and comes back."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import search.bundle.policy
from search.bundle.policy import Policy

TOLD = {
    "members": [
        {"name": "large", "service_ms": {"cpu": 50.0}, "latency_p95_ms": {"cpu": 120.0}},
        {"name": "middle", "service_ms": {"cpu": 20.0}, "latency_p95_ms": {"cpu": 60.0}},
        {"name": "small", "service_ms": {"cpu": 5.0}, "latency_p95_ms": {"cpu": 15.0}},
    ],
    "down": 0.75,
    "up": 0.5,
    "calm_s": 2.0,
}


def chosen(policy: Policy, rates: list[float], every_s: float = 0.5) -> list[str]:
    return [policy.choose(i * every_s, rate) for i, rate in enumerate(rates)]


def test_without_load_the_fewest_errors_are_made() -> None:
    assert set(chosen(Policy(TOLD, "cpu"), [0.0, 1.0, 5.0, 9.0])) == {"large"}


def test_under_load_it_falls_at_once_to_what_can_carry_it() -> None:
    assert chosen(Policy(TOLD, "cpu"), [10.0, 20.0]) == ["large", "middle"]
    assert chosen(Policy(TOLD, "cpu"), [10.0, 100.0]) == ["large", "small"]
    assert chosen(Policy(TOLD, "cpu", copies=2), [10.0, 20.0]) == ["large", "large"]


def test_it_comes_back_step_by_step_when_it_was_calm_for_a_while() -> None:
    said = chosen(Policy(TOLD, "cpu"), [100.0, *[2.0] * 12])
    assert said[0] == said[3] == "small"
    assert said[5:7] == ["middle"] * 2 or "middle" in said[4:8]
    assert said[-1] == "large"


def test_between_the_limits_it_stays() -> None:
    policy = Policy(TOLD, "cpu")
    said = chosen(policy, [20.0, *[13.0] * 20])  # 65 % of what the large one can
    assert set(said) == {"middle"}


def test_requests_that_wait_make_it_fall_whatever_the_measurements_say() -> None:
    policy = Policy(TOLD, "cpu")
    said = [policy.choose(t, 1.0, waiting_s=0.5) for t in (0.0, 0.1)]
    assert said == ["middle", "small"]


def test_who_was_less_busy_than_measured_may_stay() -> None:
    """Requests that are heard together take less than alone."""
    assert chosen(Policy(TOLD, "cpu"), [20.0]) == ["middle"], "a full second of work a second"
    policy = Policy(TOLD, "cpu")
    said = {policy.choose(0.5 * i, 20.0, busy=0.4) for i in range(20)}
    assert said == {"large"}, "the work of which took 0.4 s"
    assert policy.choose(11.0, 20.0, busy=0.9) == "middle"


def test_a_budget_leaves_out_who_breaks_it() -> None:
    assert Policy(TOLD, "cpu", budget_ms=100).choose(0.0, 0.0) == "middle"
    assert Policy(TOLD, "cpu", budget_ms=1).choose(0.0, 0.0) == "small", "the fastest there is"
    with pytest.raises(ValueError, match="no member was measured on pi"):
        Policy(TOLD, "pi")


def test_it_needs_nothing_but_python(tmp_path: Path) -> None:
    source = Path(search.bundle.policy.__file__)
    (tmp_path / "policy.json").write_text(json.dumps(TOLD))
    alone = runpy.run_path(str(source))
    policy = alone["Policy"].read(tmp_path / "policy.json", "cpu")
    assert policy.choose(0.0, 0.0) == "large"
    imported = [line for line in source.read_text().splitlines() if "import" in line.split("#")[0]]
    assert imported == ["import json"]


def test_of_a_ramp_it_keeps_the_queue_short_where_the_largest_alone_does_not() -> None:
    def longest_wait_s(policy: Policy | None) -> float:
        cost = {m["name"]: m["service_ms"]["cpu"] / 1000 for m in TOLD["members"]}
        rng, free_s, now_s, waits, came = np.random.default_rng(0), 0.0, 0.0, [], []
        while now_s < 30:
            rate = 5 + 2 * now_s  # seconds of audio in a second
            now_s += rng.exponential(2.0 / rate)
            came = [t for t in came if now_s - t < 2] + [now_s]
            waiting_s = max(0.0, free_s - now_s)
            name = "large"
            if policy is not None:
                name = policy.choose(now_s, len(came) * 2.0 / 2.0, waiting_s)
            free_s = max(free_s, now_s) + 2.0 * cost[name]
            waits.append(free_s - now_s)
        return float(np.percentile(waits, 99))

    assert longest_wait_s(Policy(TOLD, "cpu")) < 1.5
    assert longest_wait_s(None) > 5
