"""Differences as sentences: what is more, and whether chance explains it."""

from __future__ import annotations

import math
from dataclasses import replace

from search.analysis.compare import Difference, Side
from search.report.differences import sentence, size_sentence
from search.results import TrialResults

ERRORS = Difference("wer", "cpu", 0.10, 0.13, 0.03, 0.01, 0.05, False, "paired")
TIME = Difference("latency_p50_ms", "cpu", 2.0, 1.5, -0.25, -0.3, -0.2, True, "restarts")


def _said(d: Difference) -> str:
    return sentence(d, "trial 1", "trial 2")


def test_what_is_real_is_said_with_its_interval() -> None:
    assert _said(ERRORS) == (
        "**WER on cpu: trial 2 makes 3.0 points more errors than trial 1** "
        "(95 %: +1.0 points to +5.0 points)."
    )
    assert _said(TIME) == (
        "**latency p50 on cpu: trial 2 takes 25.0% less than trial 1** (95 %: -30.0% to -20.0%)."
    )


def test_what_chance_explains_is_no_difference() -> None:
    said = _said(replace(ERRORS, low=-0.01))
    assert said.startswith("WER on cpu: trial 2 and trial 1 are not told apart (95 %: -1.0")


def test_times_that_cannot_be_compared_decide_nothing() -> None:
    assert _said(replace(TIME, is_comparable=False)).endswith(
        "trial 2 takes 25.0% less than trial 1, but not both were measured in quiet, so that it "
        "cannot be told."
    )
    assert "of a single restart" in _said(replace(TIME, low=-math.inf, high=math.inf))


def test_sizes_differ_for_sure() -> None:
    sides = [Side(f"trial {i}", {"size_mb": mb}, TrialResults()) for i, mb in enumerate((2.0, 1.0))]
    assert (
        size_sentence(*sides)
        == "**size: trial 1 is 50% smaller than trial 0** (1 MB against 2 MB)."
    )
    assert size_sentence(sides[0], sides[0]) == "size: both are 2 MB."
    assert size_sentence(sides[0], Side("trial 9", {}, TrialResults())) is None
