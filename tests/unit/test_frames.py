"""A study as a frame: what pages and reports say agrees with what the command line says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import fabricate

from search.cli.common import space_of
from search.analysis.frames import (
    as_csv,
    as_parquet,
    axes_in,
    best_number,
    common_axes,
    fits,
    frame_of,
    front_numbers,
    hypervolumes,
    knee_number,
    label_of,
    metrics_in,
    rank_correlations,
    reference_in,
    downsample,
)
from search.analysis.front import best, front, hypervolume, knee, reference_of
from search.analysis.importance import axis_importances
from storage.records import Study
from storage.store import Store

OBJECTIVES = ["wer", "latency_p95_ms", "size_mb"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(f"sqlite:///{tmp_path_factory.mktemp('frames') / 'store.sqlite'}")


@pytest.fixture(scope="module")
def study(store: Store) -> Study:
    return fabricate(store, "some", 120)


@pytest.fixture(scope="module")
def frame(store: Store, study: Study) -> pd.DataFrame:
    return frame_of(store, study, space_of(study))


def test_the_front_is_that_of_the_command_line(
    store: Store, study: Study, frame: pd.DataFrame
) -> None:
    expected = front(space_of(study), store.trials.of(study.id))
    assert set(frame["number"][frame["on_front"]]) == {t.number for t in expected}


def test_the_knee_is_that_of_the_command_line(
    store: Store, study: Study, frame: pd.DataFrame
) -> None:
    space = space_of(study)
    expected = knee(space, front(space, store.trials.of(study.id)), study.deterministic)
    assert expected is not None
    assert knee_number(frame, OBJECTIVES) == expected.number


def test_the_knee_of_a_deterministic_study_is_that_of_the_command_line(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    for seed in range(8):
        study = fabricate(store, f"study {seed}", 40, seed=seed)
        store.studies.change(study.id, deterministic=True)
        study, space = store.studies.get(study.name), space_of(study)
        frame = frame_of(store, study, space)
        expected = knee(space, front(space, store.trials.of(study.id), True), True)
        assert expected is not None
        assert knee_number(frame, space.objectives, deterministic=True) == expected.number


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
    turned = complete.assign(throughput=-complete["wer"])
    of_errors = axis_importances(space_of(study), turned, "wer")
    assert of_errors
    assert axis_importances(space_of(study), turned, "throughput") == pytest.approx(of_errors)


def test_the_best_within_limits_is_that_of_the_command_line(
    store: Store, study: Study, frame: pd.DataFrame
) -> None:
    expected = best(store.trials.of(study.id), "wer", "size_mb<=0.5 and latency_p95_ms<=2.5")
    found = best_number(frame, "wer", {"size_mb": 0.5, "latency_p95_ms": 2.5})
    assert found == expected.number
    assert best_number(frame, "throughput", {"throughput": 1e12}) is None
    assert best_number(frame, "energy_mj", {}) is None


def test_the_hypervolume_of_all_trials_is_that_of_the_command_line(
    store: Store, study: Study, frame: pd.DataFrame
) -> None:
    trials, teacher = store.trials.of(study.id), study.facts["teacher"]
    reference = reference_of(space_of(study), trials, teacher)
    assert reference_in(frame, OBJECTIVES, teacher) == pytest.approx(reference)
    grown = hypervolumes(frame, OBJECTIVES, reference)
    complete = frame[frame["state"] == "complete"]
    assert grown["trials"].iloc[-1] == len(complete)
    assert grown["finished_at"].iloc[-1] == complete["finished_at"].max()
    last = grown["hypervolume"].iloc[-1]
    assert last == pytest.approx(hypervolume(space_of(study), trials, reference))
    assert grown.apply(lambda column: column.is_monotonic_increasing).all()
    assert hypervolumes(frame[:0], OBJECTIVES, reference).empty


def test_limits_hold_in_the_direction_of_their_figure(frame: pd.DataFrame) -> None:
    inside = frame[fits(frame, {"size_mb": 1.0, "throughput": 500.0})]
    assert 0 < len(inside) < len(frame)
    assert (inside["size_mb"] <= 1.0).all()
    assert (inside["throughput"] >= 500.0).all()
    assert not fits(frame, {"energy_mj": 1.0}).any()


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


def test_a_frame_without_trials_has_no_front_no_knee_and_no_best(store: Store) -> None:
    empty = fabricate(store, "empty", 0)
    frame = frame_of(store, empty, space_of(empty))
    assert front_numbers(frame, OBJECTIVES) == []
    assert best_number(frame, "wer", {}) is None
    assert metrics_in(frame) == axes_in(frame) == []


def test_larger_students_are_seen_to_be_larger(frame: pd.DataFrame) -> None:
    found = rank_correlations(frame, OBJECTIVES)
    assert found.loc["separable_conv.channels", "size_mb"] > 0.3
    assert ((found.abs() <= 1) | found.isna()).all(axis=None)


def test_a_label_says_family_width_pruning_and_number_format() -> None:
    values = {"family": "conformer", "conformer.channels": 96, "quantize.scheme": "int8_dynamic"}
    assert label_of(values) == "conformer 96 int8_dynamic"
    assert label_of({**values, "prune.ratio": 0.4}) == "conformer 96 -40% int8_dynamic"
    assert label_of({**values, "quantize.head": "fp32"}) == "conformer 96 mixed"


def test_parquet_gives_back_the_figures(frame: pd.DataFrame) -> None:
    again = pd.read_parquet(io.BytesIO(as_parquet(frame)))
    assert len(again) == len(frame)
    np.testing.assert_array_equal(again["wer"], frame["wer"])


def test_a_report_of_numbers_is_written_as_csv(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.to_csv(tmp_path / "trials.csv", index=False)
    assert len(pd.read_csv(tmp_path / "trials.csv")) == len(frame)
