"""Which student to ship: the fewest errors within limits, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fabricated import QUICKSTART, fabricate, metrics_of
from pages import with_store
from store_rows import add_trial

from search.analysis.choice import Choice, choose
from search.analysis.pick import Limit
from search.analysis.trial_frame import study_frame
from search.cli.main import run
from search.error_groups import error_groups
from search.errors import UsageFault
from spaces.load import parse_space
from spaces.metrics import MetricRef
from storage.records import Study, TrialState
from storage.store import Store

WORDS = [5] * 200
RNG = np.random.default_rng(1)
BASE = RNG.binomial(5, 0.2, 200)
SWAPPED = BASE.copy()
SWAPPED[np.flatnonzero(BASE == 0)[:4]] += 1
SWAPPED[np.flatnonzero(BASE == 1)[:2]] -= 1
# Errors by utterance, size in MB, p95 latency in ms: the second is the first but for a few
# utterances, the third is surely worse and small, the fourth the best and too big.
STUDENTS = [
    (BASE, 2.0, 20.0),
    (SWAPPED, 1.0, 10.0),
    (np.minimum(BASE + (np.arange(200) % 3 == 0), 5), 0.2, 4.0),
    (np.maximum(BASE - 1, 0), 9.0, 60.0),
]


def _study(store: Store) -> Study:
    study = fabricate(store, "edge", 0, wanted=len(STUDENTS))
    for number, (errors, size_mb, latency_p95_ms) in enumerate(STUDENTS):
        trial = add_trial(store, study, number, label=f"student {number}")
        wer = float(errors.sum() / sum(WORDS))
        metrics = metrics_of(wer, latency_p95_ms / 1.6, size_mb)
        figures = (wer, latency_p95_ms, size_mb)
        store.trials.save(
            trial.evolve(
                state=TrialState.COMPLETE,
                metrics=metrics,
                objective_values=figures,
                error_groups=error_groups(errors.tolist()),
            )
        )
        store.stage_runs.add(
            study.id,
            trial_number=number,
            stage="score@cpu",
            key="k",
            attempt=1,
            state="done",
            started_at=0.0,
            duration_s=1.0,
            result={"kind": "score", "texts": "t", "errors": errors.tolist(), "words": WORDS},
        )
    return study


@pytest.fixture
def chosen(tmp_path: Path) -> Callable[..., Choice]:
    def find(**limits: float) -> Choice:
        def read(store: Store) -> Choice:
            study = next(iter(store.studies.all()), None) or _study(store)
            space = parse_space(QUICKSTART, "quickstart.yaml")
            asked = [Limit(MetricRef(name), "<=", value) for name, value in limits.items()]
            return choose(store, study, space, study_frame(store, study, space), asked)

        return with_store(tmp_path, read)  # type: ignore[no-any-return]

    return find


def test_the_fewest_errors_within_the_limits_are_chosen(chosen: Callable[..., Choice]) -> None:
    assert chosen().first.number == 3
    assert chosen(size_mb=5).first.number == 0
    assert chosen(size_mb=5, latency_p95_ms=15).first.number == 1
    assert chosen(size_mb=0.5).first.number == 2


def test_who_cannot_be_told_from_the_first_is_named_and_who_is_surely_worse_is_not(
    chosen: Callable[..., Choice],
) -> None:
    choice = chosen(size_mb=5)
    assert [c.number for c in choice.ties] == [1]
    assert (choice.n_within, choice.n_complete) == (3, 4)
    assert (choice.n_utterances, choice.n_words) == (200, 1000)
    surely_worse = choice.candidates[2]
    assert surely_worse.number == 2
    assert 0 < surely_worse.low <= surely_worse.difference <= surely_worse.high
    assert surely_worse.chance == 0


def test_chances_are_of_all_within_the_limits_and_add_up(chosen: Callable[..., Choice]) -> None:
    choice = chosen(size_mb=5)
    assert sum(c.chance or 0.0 for c in choice.candidates) == pytest.approx(1)
    assert 0.5 < (choice.first.chance or 0.0) < 0.95
    assert chosen(size_mb=0.5).first.chance == 1


def test_what_smaller_costs_is_told_of_the_front(chosen: Callable[..., Choice]) -> None:
    choice = chosen(size_mb=5)
    assert [c.number for c in choice.cheaper] == [1, 2]
    assert [c.chance for c in choice.cheaper] == [None, None]  # they are not compared with all
    points = choice.cheaper[1]
    exact = (STUDENTS[2][0] - STUDENTS[0][0]).sum() / sum(WORDS)
    assert points.difference == pytest.approx(exact)
    assert chosen(size_mb=0.5).cheaper == ()


def test_sizes_are_those_of_the_target_that_is_named(tmp_path: Path) -> None:
    def read(store: Store) -> Choice:
        study = _study(store)
        space = parse_space(QUICKSTART, "quickstart.yaml")
        frame = study_frame(store, study, space)
        frame["size_mb@cpu"] = frame["size_mb"] * 3
        limits = [Limit(MetricRef("size_mb", "cpu"), "<=", 15.0)]
        return choose(store, study, space, frame, limits, "cpu")

    choice = with_store(tmp_path, read)
    assert (choice.first.number, choice.first.size_mb) == (0, 6.0)
    assert [c.size_mb for c in choice.cheaper] == [3.0, pytest.approx(0.6)]


def test_a_time_so_near_to_its_limit_that_another_hour_may_break_it_is_said(
    chosen: Callable[..., Choice],
) -> None:
    assert chosen(latency_p95_ms=20.5).near == ("latency_p95_ms",)
    assert chosen(latency_p95_ms=30).near == ()
    assert chosen(size_mb=2.0).near == ()


def test_when_nothing_meets_the_limits_the_nearest_miss_and_the_way_on_are_said(
    chosen: Callable[..., Choice],
) -> None:
    with pytest.raises(UsageFault) as caught:
        chosen(size_mb=0.1, latency_p95_ms=15)
    said = str(caught.value)
    assert "no complete trial meets size_mb <= 0.1 and latency_p95_ms <= 15" in said
    assert "size_mb: best is 0.2" in said
    assert "search extend edge" in said


def test_the_command_answers_in_words_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_store(tmp_path, _study)
    home = ["--home", str(tmp_path), "pick", "edge"]
    assert run([*home, "--size-mb", "5", "--latency-ms", "20.5"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Ship trial 1: 1 MB, ")
    for words in (
        "fewest errors: trial 0, student 0: WER ",
        "the fewest word errors of 3 trials within the limits (4 complete)",
        "200 utterances (1000 words)",
        "latency p95 is within 5 % of its limit",
        "not told apart from it by this dev set:\n  trial 1, student 1: 1 MB (-50%), WER +0.2",
        "smaller costs:",
        "next: search export --study edge --trial 1 OUT.zip",
    ):
        assert words in said
    assert run([*home, "--where", "size_mb<=5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ship"] == 1
    assert (found["first"]["number"], [t["number"] for t in found["ties"]]) == (0, [1])
    assert run([*home, "--wer", "0.1"]) == 2
    assert "no complete trial meets wer <= 0.001" in capsys.readouterr().err
    assert run([*home, "--target", "pi9"]) == 2
    assert '"pi9" is no target of edge (cpu)' in capsys.readouterr().err
