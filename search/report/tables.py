"""Tables of trials for terminals, and their JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.table import Table
from rich.text import Text

from search.analysis.costs import StageCost
from search.report.labels import TOLD_OF_TEST, clock, format_chance, format_metric
from spaces.metrics import TEST_METRICS
from spaces.space import Space
from storage.records import Trial


def columns_of(space: Space, has_test: bool = False, further: Sequence[str] = ()) -> list[str]:
    """Objectives first, then what an engineer asks next: as many as a terminal of 80 columns holds
    beside what test says.

    Args:
        further: metrics to show as well.
    """
    columns: list[str] = list(space.objectives)
    extras = ("wer", "latency_p95_ms", "graph_p50_ms", "size_mb", *further)
    for extra in (e for e in extras if not (has_test and e == "graph_p50_ms")):
        if extra not in columns:
            columns.append(extra)
    return columns


def front_table(
    space: Space,
    trials: Sequence[Trial],
    knee: int | None,
    title: str,
    teacher: Mapping[str, float] | None = None,
    chances: Mapping[int, float] = MappingProxyType({}),
    further: Sequence[str] = (),
) -> Table:
    """Trials a row; the knee of the front is marked.

    Args:
        chances: how likely nothing beats a trial, by number.
        further: metrics to show beside the usual ones.
    """
    has_test = any(
        "test_wer" in metrics for metrics in (teacher or {}, *(t.metrics for t in trials))
    )
    notes = ["◆ knee of the front"] * (knee is not None)
    notes += [f"test, with its 95 % interval: {TOLD_OF_TEST}"] * has_test
    caption = "\n".join(notes)
    table = Table(title=title, title_justify="left", caption=caption)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("student")
    columns = columns_of(space, has_test, further)
    for column in columns:  # its words below each other keep a column as narrow as its figures
        words = column.replace("_", "\n").replace("@", "\n@")
        table.add_column(words, justify="right", no_wrap=True)
    if has_test:
        table.add_column("wer\non\ntest", justify="right", no_wrap=True)
    if chances:
        table.add_column("on\nfront", justify="right", no_wrap=True)
    for trial in trials:
        is_knee = trial.number == knee
        name = Text(trial.label + (" ◆" if is_knee else ""))
        cells = [format_metric(c, trial.metrics.get(c)) for c in columns]
        cells += [_test_cell(trial.metrics)] * has_test
        if chances:
            cells.append(format_chance(chances.get(trial.number)))
        table.add_row(str(trial.number), name, *cells, style="bold" if is_knee else None)
    if teacher:
        table.add_section()
        cells = [format_metric(c, teacher.get(c)) for c in columns]
        cells += [_test_cell(teacher)] * has_test
        table.add_row("", "teacher", *cells, style="dim")
    return table


def _test_cell(metrics: Mapping[str, float]) -> str:
    """WER on test with its interval below."""
    wer, low, high = (format_metric(name, metrics.get(name)) for name in TEST_METRICS[:3])
    return wer if "test_wer" not in metrics else f"{wer}\n{low.rstrip('%')}–{high.rstrip('%')}"


def costs_table(costs: Sequence[StageCost]) -> Table:
    """A stage a row, what it cost and its share of all."""
    whole_s = sum(cost.cpu_s for cost in costs) or 1.0
    title = f"compute: {clock(sum(cost.cpu_s for cost in costs))} of processors"
    table = Table(title=title, title_justify="left")
    for column in ("", "stage"):
        table.add_column(column, no_wrap=True)
    for column in ("done", "found\ndone", "failed", "compute", "share", "wall"):
        table.add_column(column, justify="right", no_wrap=True)
    for before, cost in zip([None, *costs], costs, strict=False):
        is_first = before is None or before.of_trials != cost.of_trials
        if is_first and before is not None:
            table.add_section()
        subject = ("trials" if cost.of_trials else "study") if is_first else ""
        counts = (cost.n_done, cost.n_found_done, cost.n_failed)
        spent = (clock(cost.cpu_s), f"{cost.cpu_s / whole_s:.0%}", clock(cost.duration_s))
        table.add_row(subject, cost.stage, *(str(n or "") for n in counts), *spent)
    return table


def as_json(trials: Sequence[Trial], chances: Mapping[int, float] = MappingProxyType({})) -> str:
    """Recipe and figures of trials, for programs."""
    content = [
        {
            "trial": t.number,
            "state": str(t.state),
            "reason": t.reason,
            "recipe": dict(t.recipe),
            "metrics": dict(t.metrics),
            "front_chance": _known(chances.get(t.number)),
        }
        for t in trials
    ]
    return json.dumps(content, indent=1)


def _known(chance: float | None) -> float | None:
    """JSON has no NaN: a trial that is not complete has no chance."""
    return None if chance is None or math.isnan(chance) else round(chance, 4)
