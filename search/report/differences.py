"""Differences between two students as sentences."""

from __future__ import annotations

import math

from search.analysis.compare import Difference, Side
from search.report.labels import format_metric, metric_name
from spaces.metrics import MetricRef


def sentence(d: Difference, a: str, b: str) -> str:
    """What B has more or less of than A, and whether chance explains it.

    Args:
        a, b: what they are called.
    """
    about = f"{metric_name(MetricRef(d.metric, d.target))}"
    if not d.is_comparable:
        return (
            f"{about}: {b} {_amount(d)} than {a}, but not both were measured in quiet, so that it "
            "cannot be told."
        )
    if not (math.isfinite(d.low) and math.isfinite(d.high)):
        return f"{about}: {b} {_amount(d)} than {a}; of a single restart nothing can be told."
    between = f"95 %: {_signed(d, d.low)} to {_signed(d, d.high)}"
    if d.is_real:
        return f"**{about}: {b} {_amount(d)} than {a}** ({between})."
    return f"{about}: {b} and {a} are not told apart ({between})."


def size_sentence(a: Side, b: Side) -> str | None:
    """Sizes differ for sure; None where one is not known."""
    mine, theirs = a.metrics.get("size_mb"), b.metrics.get("size_mb")
    if not mine or not theirs:
        return None
    both = f"{format_metric('size_mb', theirs)} against {format_metric('size_mb', mine)}"
    if mine == theirs:
        return f"size: both are {format_metric('size_mb', mine)}."
    more = "larger" if theirs > mine else "smaller"
    return f"**size: {b.name} is {abs(theirs / mine - 1):.0%} {more} than {a.name}** ({both})."


def _amount(d: Difference) -> str:
    if d.relative:
        return f"takes {abs(d.difference):.1%} {'more' if d.difference > 0 else 'less'}"
    more = "more" if d.difference > 0 else "fewer"
    return f"makes {100 * abs(d.difference):.1f} points {more} errors"


def _signed(d: Difference, value: float) -> str:
    return f"{value:+.1%}" if d.relative else f"{100 * value:+.1f} points"
