"""Metrics and durations as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

import pandas as pd

from spaces.metrics import METRICS, TEST_METRICS, MetricRef

N = TypeVar("N", float, pd.Series)

PERCENT = frozenset((*(n for n, m in METRICS.items() if m.unit == "fraction"), *TEST_METRICS))
TOLD_OF_TEST = "scored once, when the search had ended, and nothing was chosen by it"
SURE = 0.95
_INTERVAL = ("wer_low", "wer_high")
_SPELLED = {
    "wer": "WER",
    "cer": "CER",
    "rtf": "RTF",
    "qoi": "QoI",
    "macs": "MACs",
    "test_cer": "test CER",
}


def format_metric(metric: str, value: float | None) -> str:
    """A value with its unit; fractions as percentages; – where not measured."""
    if value is None or math.isnan(value):
        return "–"
    name = MetricRef.of(metric).name
    if name in _INTERVAL or name in PERCENT:
        return f"{value:.1%}"
    if name == "macs":
        return f"{value / 1e6:.1f} M/s"
    if name == "params":
        return f"{value / 1e6:.3f} M"
    unit = METRICS[name].unit if name in METRICS else ""
    return f"{value:.3g} {unit}".strip() if abs(value) < 100 else f"{value:.0f} {unit}".strip()


def line_of_test(metrics: Mapping[str, float], target: str = "") -> str | None:
    """What the test set says of a subject in words; None where it was not asked.

    Args:
        target: whose runtime decoded; the first of the space by default.
    """
    names = [MetricRef(name, target) for name in TEST_METRICS]
    if any(name not in metrics or math.isnan(metrics[name]) for name in names):
        return None
    wer, low, high, cer = (format_metric(name, metrics[name]) for name in names)
    return f"WER {wer} (95 %: {low} to {high}), CER {cer}"


def is_end_of_interval(metric: str) -> bool:
    """Whether it is an end of the interval of another metric."""
    base, _, end = MetricRef.of(metric).name.rpartition("_")
    return end in ("low", "high") and base in METRICS


def format_interval(metric: str, low: float | None, high: float | None) -> str:
    """Both ends with their unit; empty where one is not known."""
    if low is None or high is None:
        return ""
    first = format_metric(metric, low)
    number, _, unit = first.partition(" ")
    second = format_metric(metric, high)
    return f"{number} to {second}" if second.endswith(unit) else f"{first} to {second}"


def format_chance(chance: float | None) -> str:
    """How likely a trial is on the front: sure from 95 % on."""
    if chance is None or math.isnan(chance):
        return "–"
    return "sure" if chance >= SURE else f"{chance:.0%}"


def metric_name(metric: str) -> str:
    """A metric as people say it."""
    ref = MetricRef.of(metric)
    name = ref.name.removesuffix("_ms").removesuffix("_mb").removesuffix("_mj").replace("_", " ")
    spelled = _SPELLED.get(ref.name, name).replace("wer", "WER")
    return spelled + (f" on {ref.target}" if ref.target else "")


def metric_label(metric: str) -> str:
    """A metric with its unit, as an axis says it."""
    name = MetricRef.of(metric).name
    unit = "%" if name in PERCENT else METRICS[name].unit if name in METRICS else ""
    return f"{metric_name(metric)} ({unit})" if unit else metric_name(metric)


def scaled(metric: str, values: N) -> N:
    """Fractions as percentages."""
    return values * 100 if MetricRef.of(metric).name in PERCENT else values


def clock(seconds: float) -> str:
    """A duration as 1:02:03."""
    return str(timedelta(seconds=max(0, round(seconds))))
