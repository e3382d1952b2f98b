"""Metrics are known by name; only what is timed may name a target."""

from __future__ import annotations

import pytest

from spaces.metrics import METRICS, metric_named


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_found_by_its_name_and_says_what_it_is(name: str) -> None:
    metric = metric_named(name)
    assert metric.name == name
    assert metric.meaning


def test_a_unit_in_the_name_is_the_unit() -> None:
    for name, metric in METRICS.items():
        suffix = name.rpartition("_")[2]
        if suffix in ("ms", "mb"):
            assert metric.unit.lower() == suffix


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.per_target])
def test_a_timed_metric_may_name_its_target(name: str) -> None:
    assert metric_named(f"{name}@pi5") is METRICS[name]


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if not m.per_target])
def test_a_metric_that_holds_everywhere_names_no_target(name: str) -> None:
    with pytest.raises(ValueError, match=f'"{name}@pi5" is not a metric; did you mean "{name}"\\?'):
        metric_named(f"{name}@pi5")


@pytest.mark.parametrize(
    ("wrong", "near"), [("latency_p95", "latency_p95_ms"), ("size", "size_mb"), ("wre", "wer")]
)
def test_a_misspelt_metric_is_answered_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(ValueError, match=f'^"{wrong}" is not a metric; did you mean "{near}"\\?$'):
        metric_named(wrong)


def test_a_metric_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(ValueError, match=r'^"zzz" is not a metric \(known: wer, cer, '):
        metric_named("zzz")


@pytest.mark.parametrize("name", ["test_wer", "test_cer@pi5", "test_wer_low"])
def test_nothing_is_chosen_by_what_the_test_set_says(name: str) -> None:
    of_dev = name.removeprefix("test_").partition("@")[0]
    said = f'^"{name}" tells of the test set, which nothing is chosen by; use {of_dev}, which is'
    with pytest.raises(ValueError, match=said):
        metric_named(name)


def test_what_varies_from_run_to_run_is_marked_so() -> None:
    assert {n for n, m in METRICS.items() if not m.noisy} == {
        "wer",
        "cer",
        "size_mb",
        "macs",
        "params",
        "word_precision",
        "word_recall",
        "word_f1",
        "qoi",
        "worse_share",
        "empty_share",
        "long_wer",
        "long_excess",
        "text_diff_share",
    }
    assert [n for n, m in METRICS.items() if m.higher_is_better] == [
        "throughput",
        "streams",
        "utilisation",
        "word_precision",
        "word_recall",
        "word_f1",
        "qoi",
    ]
