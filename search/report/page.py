"""One page that says everything of a study, without a server and without a network.

Everything that people or files named is escaped by the template; no path of this machine is in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from search.analysis.answer import answer_of
from search.analysis.elsewhere import lines_on, times_on
from search.analysis.front import hypervolumes, knee_number, reference_point
from search.analysis.trial_frame import (
    axes_in,
    common_axes,
    downsample,
    metrics_in,
    study_frame,
)
from search.policy import policy_of
from search.report.answer import answer_line, others_line, rule_line
from search.report.charts import over_time, parallel_coordinates
from search.report.export import as_csv
from search.report.front_charts import front_figures
from search.report.labels import TOLD_OF_TEST, format_metric, metric_label, metric_name
from spaces.metrics import TEST_METRICS, MetricRef
from spaces.space import Space
from storage.records import Study
from storage.store import Store

_MOST_AXES = 12
# Charts that are read on a light page as on a dark one.
_CLEAR, _GRID = "rgba(0,0,0,0)", {"gridcolor": "rgba(128,128,128,0.3)", "zeroline": False}
_ON_BOTH = {
    "paper_bgcolor": _CLEAR,
    "plot_bgcolor": _CLEAR,
    "font": {"color": "#808080"},
    "xaxis": _GRID,
    "yaxis": _GRID,
}


@dataclass(frozen=True)
class _Chart:
    html: str
    is_wide: bool = False


@dataclass(frozen=True)
class _Row:
    number: str
    label: str
    cells: tuple[str, ...]
    is_knee: bool = False


@dataclass(frozen=True)
class _Table:
    names: tuple[str, ...]
    rows: tuple[_Row, ...]
    of_test: str  # what its columns of test are; empty where it has none


@dataclass(frozen=True)
class _Recipe:
    number: int
    label: str
    text: str


@dataclass(frozen=True)
class _Head:
    description: str
    begun: str
    state: str
    n_trials: int
    counts: str
    targets: str
    budgets: str
    teacher: str
    answer: tuple[str, ...]  # which student to ship, and by which rule
    lacking: str  # trials that were not measured on every target


def write_report(path: Path, store: Store, study: Study, space: Space) -> None:
    """Write the page: front, tables, recipes, all figures with their units."""
    frame = study_frame(store, study, space)
    has_front = bool(frame["on_front"].any())
    content = _render(
        title=study.name,
        head=_head(study, space, frame),
        charts=_charts(study, space, frame) if has_front else [],
        table=_front_table(study, space, frame) if has_front else None,
        recipes=_recipes(store, study, frame),
        csv=_all_trials(frame),
    )
    path.write_text(content, encoding="utf-8")


def write_front(path: Path, study: Study, space: Space, frame: pd.DataFrame) -> None:
    """Write a page of the front's charts alone."""
    charts = [_drawn(figure) for figure in front_figures(study, space, frame)]
    title = f"{study.name}: front (large) and other trials"
    content = _render(title=title, head=None, charts=charts, table=None, recipes=[], csv=None)
    path.write_text(content, encoding="utf-8")


def _render(
    *,
    title: str,
    head: _Head | None,
    charts: Sequence[_Chart],
    table: _Table | None,
    recipes: Sequence[_Recipe],
    csv: str | None,
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("search.report"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        head=head,
        charts=charts,
        table=table,
        recipes=recipes,
        csv=csv,
        plotly=get_plotlyjs(),
    )


def _head(study: Study, space: Space, frame: pd.DataFrame) -> _Head:
    counts = frame["state"].value_counts().items()
    teacher = study.teacher_metrics
    known = [m for m in space.objectives if m in teacher]
    return _Head(
        description=space.description,
        begun=time.strftime("%Y-%m-%d %H:%M", time.localtime(study.created_at)),
        state=study.state,
        n_trials=len(frame),
        counts=", ".join(f"{n} {str(s).replace('_', ' ')}" for s, n in counts) or "none",
        targets="; ".join(
            f"{n}: {t.backend}, {t.threads} thread(s)" for n, t in space.targets.items()
        ),
        budgets=", ".join(map(str, space.budgets)) or "none",
        teacher=", ".join(f"{metric_name(m)} {format_metric(m, teacher[m])}" for m in known)
        or "not measured",
        answer=_answer(frame),
        lacking="; ".join(lines_on(frame, study.added_targets)),
    )


def _answer(frame: pd.DataFrame) -> tuple[str, ...]:
    answer = answer_of(frame)
    if answer is None:
        return ()
    return answer_line(answer), others_line(answer), rule_line(answer)


def _charts(study: Study, space: Space, frame: pd.DataFrame) -> list[_Chart]:
    names = [o for o in space.objectives if o in frame]
    charts = [_drawn(figure) for figure in front_figures(study, space, frame)]
    grown = hypervolumes(frame, names, reference_point(frame, names, study.teacher_metrics))
    line = (list(grown["trials"]), list(grown["hypervolume"]))
    charts.append(_drawn(over_time({"hypervolume": line}, "complete trials", "hypervolume")))
    points = downsample(frame, [str(c) for c in frame.columns])
    best = points[points["on_front"]]
    if len(best) > 2:
        axes = common_axes(best)
        columns = [*list(axes)[: _MOST_AXES - len(names)], *names]
        lines = parallel_coordinates(axes.join(best[names]), columns, names[0])
        charts.append(_drawn(lines, is_wide=True))
    return charts


def _drawn(figure: go.Figure, is_wide: bool = False) -> _Chart:
    html = figure.update_layout(_ON_BOTH).to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"responsive": True, "showSendToCloud": False},
    )
    return _Chart(html, is_wide)


def _front_table(study: Study, space: Space, frame: pd.DataFrame) -> _Table:
    best = frame[frame["on_front"]]
    shown = (*space.objectives, *times_on(frame, study.added_targets))
    found = [m for m in metrics_in(best) if not m.target or m in shown]
    first = [o for o in space.objectives if o in found]
    names: list[MetricRef] = first + [n for n in found if n not in first]
    names += [MetricRef(name) for name in TEST_METRICS if name in best]
    knee = knee_number(frame, first, policy_of(study.deterministic))
    rows = []
    for row in best.sort_values(first[0]).to_dict("records"):
        is_knee = row["number"] == knee
        label = row["label"] + " ◆" * is_knee
        cells = tuple(format_metric(n, row[n]) for n in names)
        rows.append(_Row(str(row["number"]), label, cells, is_knee))
    teacher = tuple(format_metric(n, study.teacher_metrics.get(n)) for n in names)
    rows.append(_Row("", "teacher", teacher))
    of_test = f"Test: {TOLD_OF_TEST}." if any(n in TEST_METRICS for n in names) else ""
    return _Table(tuple(map(metric_label, names)), tuple(rows), of_test)


def _recipes(store: Store, study: Study, frame: pd.DataFrame) -> list[_Recipe]:
    out = []
    for number, label in frame.loc[frame["on_front"], ["number", "label"]].itertuples(index=False):
        recipe = dict(store.trials.get(study.id, int(number)).recipe)
        out.append(_Recipe(int(number), label, json.dumps(recipe, indent=1)))
    return out


def _all_trials(frame: pd.DataFrame) -> str:
    """Every trial as CSV, to copy."""
    columns = ["number", "state", "label", *axes_in(frame), *metrics_in(frame), *TEST_METRICS]
    return as_csv(frame[[c for c in columns if c in frame]])
