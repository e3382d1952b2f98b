"""A study as a frame: what commands, pages and reports are made of."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import fabricate

from search.analysis.front import (
    front_numbers,
    hypervolume,
    hypervolumes,
    knee_number,
    reference_point,
)
from search.analysis.importance import axis_importances
from search.analysis.pick import best_number, best_trial, fits, limits_of
from search.analysis.trial_frame import (
    AXIS,
    axes_in,
    common_axes,
    downsample,
    metrics_in,
    rank_correlations,
    study_frame,
    trial_frame,
)
from search.cli.common import space_of
from search.report.export import as_csv, as_parquet
from spaces.metrics import MetricRef
from spaces.points import recipe_of
from storage.records import Study
from storage.store import Store

WER, LATENCY, SIZE = (MetricRef(n) for n in ("wer", "latency_p95_ms", "size_mb"))
OBJECTIVES = (WER, LATENCY, SIZE)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{tmp_path_factory.mktemp('frames') / 'store.sqlite'}")


@pytest.fixture(scope="module")
def study(store: Store) -> Study:
    return fabricate(store, "some", 120)


@pytest.fixture(scope="module")
def frame(store: Store, study: Study) -> pd.DataFrame:
    return study_frame(store, study, space_of(study))


def test_light_rows_of_trials_make_the_frame_that_whole_trials_make(
    store: Store, study: Study, frame: pd.DataFrame
) -> None:
    whole = trial_frame(store.trials.of(study.id), study, space_of(study))
    pd.testing.assert_frame_equal(frame, whole)


def test_the_knee_is_on_the_front(study: Study, frame: pd.DataFrame) -> None:
    on_front = frame["number"][frame["on_front"]]
    assert set(on_front) == set(front_numbers(frame, space_of(study).objectives))
    assert knee_number(frame, OBJECTIVES) in set(on_front)


def test_what_is_shared_as_a_file_names_no_places_and_holds_no_formulas(
    frame: pd.DataFrame,
) -> None:
    told = frame.assign(reason="=no /home/ann smith/x.wav, token hunter22")
    text, parquet = as_csv(told), pd.read_parquet(io.BytesIO(as_parquet(told)))
    for said in (text, parquet["reason"].iloc[0]):
        assert "smith" not in said and "hunter22" not in said
    back = pd.read_csv(io.StringIO(text))
    assert (back["reason"] == "'=no …/x.wav, token …").all()
    assert back["wer"].to_numpy() == pytest.approx(frame["wer"].to_numpy(), nan_ok=True)


def test_importance_is_about_the_better_trials_whichever_way_better_is(
    study: Study, frame: pd.DataFrame
) -> None:
    complete = frame[frame["state"] == "complete"]
    turned = complete.assign(qoi=-complete["wer"])
    of_errors = axis_importances(space_of(study), turned, "wer", draws=5)
    assert of_errors
    assert sum(found.share for found in of_errors.values()) == pytest.approx(1)
    assert all(0 <= found.low <= found.share <= found.high <= 1 for found in of_errors.values())
    assert axis_importances(space_of(study), turned, "qoi", draws=5) == of_errors


def test_no_axis_of_training_explains_times_or_sizes(study: Study, frame: pd.DataFrame) -> None:
    complete = frame[frame["state"] == "complete"]
    sections = ("distil", "training", "losses")
    assert any(
        axis.startswith(sections)
        for axis in axis_importances(space_of(study), complete, "wer", draws=2)
    )
    for metric in ("latency_p95_ms", "size_mb"):
        axes = axis_importances(space_of(study), complete, metric, draws=2)
        assert axes and not any(axis.startswith(sections) for axis in axes)


def test_importances_of_few_trials_are_not_told(study: Study, frame: pd.DataFrame) -> None:
    complete = frame[frame["state"] == "complete"]
    assert axis_importances(space_of(study), complete.head(29), "wer") == {}


def test_the_best_within_limits_is_the_one_that_a_condition_finds(frame: pd.DataFrame) -> None:
    found = best_number(frame, WER, limits_of({"size_mb": 0.5, "latency_p95_ms": 2.5}))
    assert found == best_trial(frame, "wer", "size_mb<=0.5 and latency_p95_ms<=2.5")
    inside = frame[(frame["size_mb"] <= 0.5) & (frame["latency_p95_ms"] <= 2.5)]
    inside = inside[inside["state"] == "complete"].set_index("number")
    # of those that are not told apart, one of the front
    assert inside["wer"][found] < inside["wer"].min() + 0.02
    assert inside["on_front"][found]
    assert best_number(frame, MetricRef("throughput"), limits_of({"throughput": 1e12})) is None
    assert best_number(frame, MetricRef("energy_mj")) is None


def test_the_hypervolume_is_seen_from_the_teachers_cost_with_every_word_wrong(
    study: Study, frame: pd.DataFrame
) -> None:
    teacher = study.teacher_metrics
    assert reference_point(frame, OBJECTIVES, teacher) == {
        WER: 1.0,
        LATENCY: teacher["latency_p95_ms"],
        SIZE: teacher["size_mb"],
    }
    throughput = MetricRef("throughput")
    worst = {SIZE: frame["size_mb"].max(), throughput: frame["throughput"].min()}
    assert reference_point(frame, (SIZE, throughput), {}) == worst
    assert reference_point(frame, (MetricRef("energy_mj"),), {}) == {"energy_mj": 1.0}


def test_the_hypervolume_grows_to_that_of_all_trials(study: Study, frame: pd.DataFrame) -> None:
    reference = reference_point(frame, OBJECTIVES, study.teacher_metrics)
    grown = hypervolumes(frame, OBJECTIVES, reference)
    complete = frame[frame["state"] == "complete"]
    assert grown["trials"].iloc[-1] == len(complete)
    assert grown["finished_at"].iloc[-1] == complete["finished_at"].max()
    last = grown["hypervolume"].iloc[-1]
    assert 0 < last == pytest.approx(hypervolume(frame, OBJECTIVES, reference))
    assert grown.apply(lambda column: column.is_monotonic_increasing).all()
    assert hypervolumes(frame[:0], OBJECTIVES, reference).empty


def test_limits_hold_in_the_direction_of_their_figure(frame: pd.DataFrame) -> None:
    inside = frame[fits(frame, limits_of({"size_mb": 1.0, "throughput": 500.0}))]
    assert 0 < len(inside) < len(frame)
    assert (inside["size_mb"] <= 1.0).all()
    assert (inside["throughput"] >= 500.0).all()
    assert not fits(frame, limits_of({"energy_mj": 1.0})).any()


def test_a_chart_carries_the_whole_front_and_a_sample_of_the_rest(frame: pd.DataFrame) -> None:
    thin = downsample(frame, ["wer"], most=10)
    assert set(thin["number"][thin["on_front"]]) == set(frame["number"][frame["on_front"]])
    assert (~thin["on_front"]).sum() == 10
    assert list(thin.columns) == ["number", "label", "on_front", "wer"]


def test_equal_axes_of_several_families_become_one(frame: pd.DataFrame) -> None:
    axes = common_axes(frame)
    assert {"family", "channels", "blocks", "distil weight", "quantize scheme"} <= set(axes)
    assert "hidden" not in axes  # only one family has it
    assert axes.notna().all(axis=None)


def test_the_own_graph_of_a_teacher_takes_no_axis_away(frame: pd.DataFrame) -> None:
    own = frame.iloc[[0]].copy()
    own[[c for c in own if str(c).startswith(AXIS)]] = None
    own[["family", f"{AXIS}family"]] = "teacher"
    beside = pd.concat([frame, own], ignore_index=True)
    assert set(common_axes(frame)) <= set(common_axes(beside))
    assert common_axes(own).empty


def test_a_frame_without_trials_has_no_front_no_knee_and_no_best(store: Store) -> None:
    empty = fabricate(store, "empty", 0)
    frame = study_frame(store, empty, space_of(empty))
    assert front_numbers(frame, OBJECTIVES) == []
    assert knee_number(frame, OBJECTIVES) is None
    assert best_number(frame, WER) is None
    assert hypervolume(frame, OBJECTIVES, dict.fromkeys(OBJECTIVES, 1.0)) == 0.0
    assert metrics_in(frame) == axes_in(frame) == []


def test_larger_students_are_seen_to_be_larger(frame: pd.DataFrame) -> None:
    found = rank_correlations(frame, OBJECTIVES)
    assert found.loc["separable_conv.channels", "size_mb"] > 0.15
    assert ((found.abs() <= 1) | found.isna()).all(axis=None)


def test_a_label_says_family_width_pruning_and_number_format() -> None:
    values = {"family": "conformer", "conformer.channels": 96, "quantize.scheme": "int8_dynamic"}
    assert recipe_of(values).label() == "conformer 96 int8_dynamic"
    assert recipe_of({**values, "prune.ratio": 0.4}).label() == "conformer 96 -40% int8_dynamic"
    mixed = {**values, "quantize.head": "fp32"}
    assert recipe_of(mixed).label() == "conformer 96 mixed int8_dynamic"


def test_parquet_gives_back_the_figures(frame: pd.DataFrame) -> None:
    again = pd.read_parquet(io.BytesIO(as_parquet(frame)))
    assert len(again) == len(frame)
    np.testing.assert_array_equal(again["wer"], frame["wer"])


def test_a_report_of_numbers_is_written_as_csv(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.to_csv(tmp_path / "trials.csv", index=False)
    assert len(pd.read_csv(tmp_path / "trials.csv")) == len(frame)
