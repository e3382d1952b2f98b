"""Tables of trials for terminals, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from spaces.metrics import METRICS, metric_named
from spaces.recipe import Recipe
from spaces.space import Space
from storage.records import Trial

_INTERVAL = ("wer_low", "wer_high")


def shown(metric: str, value: float | None) -> str:
    """A figure with its unit; fractions as percentages; – where not measured."""
    if value is None or math.isnan(value):
        return "–"
    base = metric.partition("@")[0]
    if base in _INTERVAL or (base in METRICS and METRICS[base].unit == "fraction"):
        return f"{value:.1%}"
    if base == "macs":
        return f"{value / 1e6:.1f} M/s"
    if base == "params":
        return f"{value / 1e6:.3f} M"
    unit = METRICS[base].unit if base in METRICS else ""
    return f"{value:.3g} {unit}".strip() if abs(value) < 100 else f"{value:.0f} {unit}".strip()


def columns_of(space: Space) -> list[str]:
    """Objectives first, then what an engineer asks next."""
    columns = list(space.objectives)
    for extra in ("wer", "latency_p95_ms", "graph_p50_ms", "size_mb"):
        if extra not in columns:
            columns.append(extra)
    return columns


def front_table(
    space: Space,
    trials: Sequence[Trial],
    marked: Trial | None,
    title: str,
    teacher: Mapping[str, float] | None = None,
) -> Table:
    """Trials a row; the knee of the front is marked."""
    table = Table(title=title, title_justify="left", caption="◆ knee of the front" * bool(marked))
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("student")
    columns = columns_of(space)
    for column in columns:  # its words below each other keep a column as narrow as its figures
        table.add_column(column.replace("_", "\n"), justify="right", no_wrap=True)
    for trial in trials:
        is_marked = marked is not None and trial.number == marked.number
        name = Text(Recipe.model_validate(trial.recipe).label() + (" ◆" if is_marked else ""))
        cells = [shown(c, trial.metrics.get(c)) for c in columns]
        table.add_row(str(trial.number), name, *cells, style="bold" if is_marked else None)
    if teacher:
        table.add_section()
        table.add_row("", "teacher", *[shown(c, teacher.get(c)) for c in columns], style="dim")
    return table


def rows_of(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Flat rows: number, state, every axis, every metric."""
    return [
        {
            "trial": t.number,
            "state": str(t.state),
            "reason": t.reason,
            **{f"axis.{k}": v for k, v in t.values.items()},
            **dict(t.metrics),
        }
        for t in trials
    ]


def as_csv(trials: Sequence[Trial]) -> str:
    rows = rows_of(trials)
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names or ["trial"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_json(trials: Sequence[Trial]) -> str:
    content = [
        {
            "trial": t.number,
            "state": str(t.state),
            "reason": t.reason,
            "recipe": dict(t.recipe),
            "metrics": dict(t.metrics),
        }
        for t in trials
    ]
    return json.dumps(content, indent=1)


def unit_of(metric: str) -> str:
    return metric_named(metric).unit
