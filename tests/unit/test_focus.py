"""Trials of a focus look where its limits are met; it judges nothing, and ends with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from trials import trial_of

from search.policy import AS_MEASURED, DETERMINISTIC
from search.strategy.focus import focus_at, is_outside_a_focus, seen_within
from search.strategy.moves import Promote, Propose, Stop
from search.strategy.sampling import propose
from search.strategy.screening import screen
from spaces.points import recipe_of, refusal
from spaces.space import Space
from storage.records import Focus, Trial, TrialState
from workers.results import Reading, ScreenResult

MakeSpace = Callable[..., Space]
AXES: dict[str, Any] = {
    "students": {
        "separable_conv": {"channels": {"int": [16, 256], "step": 8}, "blocks": [1, 2, 4, 8]},
        "recurrent": {"cell": ["gru", "lstm"], "hidden": {"int": [16, 256], "log": True}},
    },
    "training": {"learning_rate": {"float": [0.001, 0.01], "log": True}},
    "distil": {"weight": [0.0, 0.5]},
    "prune": {"ratio": [0.0, 0.4]},
    "quantize": {"scheme": ["fp32", "int8_dynamic"]},
}
KNOWN = 24


def _metrics(values: dict[str, Any]) -> dict[str, float]:
    """Bigger is slower and makes fewer errors; a function of the recipe."""
    width = float(values.get("separable_conv.channels") or values.get("recurrent.hidden") or 1)
    depth = float(values.get("separable_conv.blocks", 2)) * (1 - float(values["prune.ratio"]))
    bits = 1 if values["quantize.scheme"] == "int8_dynamic" else 4
    noise = int(recipe_of(values).digest()[:4], 16) / 0xFFFF
    size_mb = width * depth * bits / 400
    latency_ms = 1 + width * depth / 40
    return {"wer": 0.1 + 4 / (width * depth) + noise / 50, "size_mb": size_mb} | {
        f"latency_p{q}_ms": latency_ms for q in (50, 95)
    }


def _ended(number: int, proposal: Propose, **changes: Any) -> Trial:
    metrics = _metrics(proposal.values)
    given = {
        "source": proposal.source,
        "metrics": metrics,
        "objective_values": (metrics["wer"], metrics["latency_p95_ms"], metrics["size_mb"]),
    }
    return trial_of(number, proposal.values, **{**given, **changes})


def _go_on(
    space: Space, trials: Sequence[Trial], count: int, focus: Focus | None = None, seed: int = 0
) -> list[Trial]:
    out = list(trials)
    for number in range(len(trials), len(trials) + count):
        asked = focus if focus is not None and focus.covers(number) else None
        proposal = propose(space, AS_MEASURED, seed, number, out, focus=asked)
        assert isinstance(proposal, Propose)
        assert refusal(space, proposal.values) is None
        out.append(_ended(number, proposal))
    return out


@pytest.fixture(scope="module")
def space(make_space: MakeSpace) -> Space:
    return make_space(**AXES)


@pytest.fixture(scope="module")
def known(space: Space) -> list[Trial]:
    return _go_on(space, [], KNOWN)


def _limit(trials: Sequence[Trial], metric: str, share: float) -> float:
    return float(np.quantile([t.metrics[metric] for t in trials], share))


@pytest.mark.parametrize("metric", ["size_mb", "latency_p95_ms"])
def test_its_trials_lie_where_the_limit_is_met(
    space: Space, known: list[Trial], metric: str
) -> None:
    limit = _limit(known, metric, 0.2)
    focus = Focus(KNOWN, 16, {metric: f"<= {limit}"})
    shares = []
    for asked in (focus, None):
        every = [_go_on(space, known, 16, asked, seed)[KNOWN:] for seed in range(2)]
        shares.append(np.mean([t.metrics[metric] <= limit for ts in every for t in ts]))
    assert shares[0] >= 0.4
    assert shares[0] > 3 * shares[1]


def test_its_first_trials_are_the_nearest_ones_with_one_axis_changed(
    space: Space, known: list[Trial]
) -> None:
    limit = _limit(known, "latency_p95_ms", 0.5)
    focus = Focus(KNOWN, 9, {"latency_p95_ms": f"<= {limit}"})
    added = _go_on(space, known, 9, focus)[KNOWN:]
    assert [t.source for t in added] == ["focus"] * 3 + ["sampler"] * 6
    away = sorted(abs(t.metrics["latency_p95_ms"] / limit - 1) for t in known)
    for trial in added[:3]:
        apart = [
            sum(t.values.get(k) != trial.values.get(k) for k in {*t.values, *trial.values})
            for t in known
        ]
        assert min(apart) <= 2  # an axis may bring another with it
        near = [t for t, n in zip(known, apart, strict=True) if n <= 2]
        distances = [abs(t.metrics["latency_p95_ms"] / limit - 1) for t in near]
        assert min(distances) <= away[len(away) // 2]


def test_equal_records_give_equal_proposals(space: Space, known: list[Trial]) -> None:
    focus = Focus(KNOWN, 6, {"size_mb": "<= 0.3"})
    for number in (KNOWN, KNOWN + 4):
        trials = _go_on(space, known, number - KNOWN, focus)
        first = propose(space, AS_MEASURED, 0, number, trials, focus=focus)
        assert propose(space, AS_MEASURED, 0, number, list(trials), focus=focus) == first


def test_a_deterministic_study_sees_nothing_of_the_generation_under_way(
    space: Space, known: list[Trial]
) -> None:
    """Nor which recipe of it was screened out, at the end of a focus as within."""
    focus, last = Focus(KNOWN, 2, {"size_mb": "<= 0.3"}), KNOWN + 2
    trials = _go_on(space, known, 2, focus)
    ends: list[dict[str, Any]] = [
        {"state": TrialState.RUNNING, "objective_values": None},
        {"state": TrialState.COMPLETE, "objective_values": (0.0, 0.0, 0.0)},
        {"state": TrialState.SCREENED_OUT, "objective_values": None, "metrics": {"size_mb": 9.0}},
    ]
    for asked in (focus, None):
        found = [
            propose(
                space,
                DETERMINISTIC,
                0,
                last,
                [t if t.number < KNOWN else t.evolve(**end) for t in trials],
                focus=asked,
            )
            for end in ends
        ]
        assert found[0] == found[1] == found[2]


def test_without_any_known_trial_it_still_proposes(space: Space) -> None:
    focus = Focus(6, 6, {"size_mb": "<= 0.3"})
    failed = [
        t.evolve(state=TrialState.FAILED, objective_values=None) for t in _go_on(space, [], 6)
    ]
    proposal = propose(space, AS_MEASURED, 0, 6, failed, focus=focus)
    assert isinstance(proposal, Propose)
    assert proposal.source == "sampler"


def _screened(size_mb: float, latency_ms: float) -> ScreenResult:
    return ScreenResult(
        readings=(
            Reading(metric="size_mb", value=size_mb),
            Reading(target="cpu", metric="latency_p95_ms", value=latency_ms),
        )
    )


def test_what_breaks_it_is_not_trained_and_is_said_to_be_outside(make_space: MakeSpace) -> None:
    space = make_space(**AXES, budgets={"size_mb": "<= 5"})
    focus = Focus(0, 4, {"size_mb": "<= 1", "latency_p95_ms": "<= 20"})

    def of(size_mb: float, latency_ms: float, within: Focus | None = focus) -> Promote | Stop:
        return screen(space, AS_MEASURED, {}, _screened(size_mb, latency_ms), within)

    assert of(0.9, 19) == Promote()
    assert of(0.9, 24) == Promote()  # a few runs tell a time only roughly
    assert of(0.9, 26) == Stop("outside the focus: latency_p95_ms <= 20 (is 26)")
    assert of(2, 26) == Stop(
        "outside the focus: size_mb <= 1 (is 2) and latency_p95_ms <= 20 (is 26)"
    )
    assert of(6, 26) == Stop("breaks size_mb <= 5 (is 6)")
    assert of(2, 26, None) == Promote()


def test_what_was_outside_may_be_tried_once_the_focus_is_over(make_space: MakeSpace) -> None:
    one = {"separable_conv": {"channels": [16, 24]}}
    space = make_space(students=one, search={"initial_trials": 0})
    focus = Focus(0, 1, {"size_mb": "<= 0.001"})

    def ended(number: int, channels: int, **changes: Any) -> Trial:
        values = {"family": "separable_conv", "separable_conv.channels": channels}
        values |= {"prune.ratio": 0.0, "quantize.scheme": "fp32"}
        return _ended(number, Propose(values, "sampler"), **changes)

    proposal = propose(space, AS_MEASURED, 0, 0, [], focus=focus)
    assert isinstance(proposal, Propose)
    out = _ended(
        0,
        proposal,
        state=TrialState.SCREENED_OUT,
        objective_values=None,
        constraints={"size_mb <= 5": -4.0},
    )
    assert is_outside_a_focus(out)
    assert seen_within([out], None) == []
    (seen,) = seen_within([out], focus)
    assert any(excess > 0 for excess in seen.constraints.values())
    digests = []
    for number in (1, 2):
        again = propose(space, AS_MEASURED, 0, number, [out, *digests])
        assert isinstance(again, Propose)
        digests.append(_ended(number, again))
    assert out.recipe_digest in {t.recipe_digest for t in digests}
    broken = out.evolve(constraints={"size_mb <= 5": 1.0})
    assert not is_outside_a_focus(broken)
    assert seen_within([broken], None) == [broken]


def test_a_focus_lasts_for_the_trials_that_it_was_given_for() -> None:
    early, late = Focus(4, 2, {"size_mb": "<= 1"}), Focus(8, 3, {"wer": "<= 12%"})
    found = [focus_at((early, late), number) for number in range(12)]
    assert found == [None] * 4 + [early] * 2 + [None] * 2 + [late] * 3 + [None]
    assert str(early) == "trials 4 to 5 towards size_mb <= 1"
    assert str(Focus(4, 1, {"size_mb": "<= 1"})) == "trial 4 towards size_mb <= 1"
