"""Charts of the front: trials over two figures, with what they are compared with."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from search.analysis.answer import answer_of
from search.analysis.front import knee_number
from search.analysis.trial_frame import downsample
from search.policy import policy_of
from search.report.charts import COLOURS, GREY, MARGIN, SYMBOLS, Layout, axis_of
from search.report.doubt import doubts
from search.report.labels import metric_label, scaled
from spaces.metrics import MetricRef
from spaces.space import Space
from storage.records import Study
from workers.measure.intervals import WITH_INTERVALS

_MOST_BARS = 40  # more intervals than these hide what they belong to
_BEYOND = {"color": GREY, "symbol": "circle-open", "size": 6, "opacity": 0.4}


@dataclass(frozen=True)
class Marks:
    """What a front chart shows beside the trials."""

    teacher: Mapping[str, float]
    limits: Mapping[str, float]  # by metric, as the sliders stand
    knee: int | None = None
    ship: int | None = None  # the answer (`search.analysis.answer`)
    chosen: Sequence[int] = ()
    baseline: Mapping[str, float] = field(default_factory=dict)  # as its bundle says
    boxed: Sequence[int] = ()  # stay bright in every chart while the others fade


def front_chart(
    points: pd.DataFrame,
    x: str,
    y: str,
    colour: str,
    marks: Marks,
    tooltip: Sequence[str],
    logarithmic: bool | None = None,
    legend: bool = True,
) -> go.Figure:
    """One side of the front: a cost over an error.

    Args:
        points: a row a trial: number, label, on_front, fits, doubt (`search.report.doubt`) and the
            metrics; already downsampled.
        colour: the column that colours and shapes the points.
        marks: limits, the teacher, trials with a name.
        tooltip: figures that a tooltip tells.
        logarithmic: the axes of costs; None decides by the values.
    """
    figure = go.Figure()
    known = points.dropna(subset=[x, y])
    beyond = known[~known["fits"]]
    if len(beyond):
        trace = _points(beyond, x, y, "beyond the budgets", tooltip, _BEYOND)
        figure.add_trace(_brushed(trace, beyond, marks).update(showlegend=False))
    for i, (value, group) in enumerate(_groups(known, colour)):
        inside = group[group["fits"]]
        parts = list(inside.groupby(["on_front", inside["doubt"] == ""]))
        for (on_front, is_sure), part in parts:
            look = _look(i, bool(on_front), bool(is_sure))
            trace = _points(part, x, y, str(value), tooltip, look)
            is_last = (on_front, is_sure) == parts[-1][0]  # sure, and of the front, if there is one
            trace.update(legendgroup=trace.name, showlegend=bool(is_last))
            if on_front and len(part) <= _MOST_BARS:
                _add_intervals(trace, part, x, y)
            figure.add_trace(_brushed(trace, part, marks))
    if not any(MetricRef.of(m).is_known and MetricRef.of(m).known.higher_is_better for m in (x, y)):
        _add_steps(figure, known, x, y)  # of figures of which less is better
    _add_marks(figure, known, x, y, marks)
    for axes, name in ((figure.update_xaxes, x), (figure.update_yaxes, y)):
        others = [figures[name] for _, figures in _references(marks, name)]
        drawn = pd.concat([known[name], pd.Series(others, dtype=float)])
        # Margins of their own spare a browser measuring every label again and again.
        axes(axis_of(name, drawn, logarithmic), automargin=False)
    return _laid_out(figure, legend)


def _laid_out(figure: go.Figure, legend: bool) -> go.Figure:
    return figure.update_layout(
        margin=MARGIN,
        height=430,
        showlegend=legend,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "itemsizing": "constant"},
        dragmode="pan",
        clickmode="event",
        hovermode="closest",
        hoverlabel={"align": "left"},
    )


def _groups(points: pd.DataFrame, colour: str) -> list[tuple[str, pd.DataFrame]]:
    """Groups by value; beyond what colours and symbols tell apart, the rest together."""
    values = points[colour].astype(str)
    common = values.value_counts().index[: len(COLOURS) - 1]
    named = values.where(values.isin(common), "other")
    order = sorted(named.unique(), key=lambda v: (v == "other", v))
    return [(v, points[named == v]) for v in order]


def _look(place: int, on_front: bool, is_sure: bool) -> Layout:
    """Large on the front; hollow where chance may have made a figure or the place."""
    colour = COLOURS[place % len(COLOURS)]
    return {
        "color": colour,
        "symbol": SYMBOLS[place % len(SYMBOLS)] + ("" if is_sure else "-open"),
        "size": 12 if on_front else 6,
        "opacity": 1.0 if on_front else 0.55,
        "line": {"width": 1, "color": GREY} if is_sure else {"width": 2, "color": colour},
    }


def _points(
    part: pd.DataFrame, x: str, y: str, name: str, tooltip: Sequence[str], look: Layout
) -> go.Scatter:
    """Markers that know their trial. A tooltip's words are written once, not for every point."""
    lines = [f"{metric_label(c)}: %{{customdata[{i}]:.3~g}}" for i, c in enumerate(tooltip)]
    return go.Scatter(
        x=scaled(x, part[x]),
        y=scaled(y, part[y]),
        mode="markers",
        name=html.escape(name),
        ids=part["number"].astype(str),  # what a click tells
        customdata=np.column_stack([scaled(c, part[c]) for c in tooltip]),
        text=_told(part),
        hovertemplate="<br>".join(["<b>trial %{id}</b> %{text}", *lines]) + "<extra></extra>",
        marker=look,
        selected={"marker": {"opacity": 1.0}},
        unselected={"marker": {"opacity": 0.1}},
    )


def _told(part: pd.DataFrame) -> pd.Series:
    """What a tooltip says of a trial beside its figures."""
    labels = part["label"].str.slice(0, 80).map(html.escape)
    return labels + ("<br>" + part["doubt"].map(html.escape)).where(part["doubt"] != "", "")


def _brushed(trace: go.Scatter, part: pd.DataFrame, marks: Marks) -> go.Scatter:
    """What is boxed in one chart stands out in all of them."""
    if marks.boxed:
        trace.selectedpoints = np.flatnonzero(part["number"].isin(marks.boxed))
    return trace


def interval_of(metric: str) -> tuple[str, str] | None:
    """The columns between which a figure lies in 95 %: on other dev sets, at another hour."""
    ref = MetricRef.of(metric)
    if ref.name != "wer" and ref.name not in WITH_INTERVALS:
        return None
    return MetricRef(f"{ref.name}_low", ref.target), MetricRef(f"{ref.name}_high", ref.target)


def _add_intervals(trace: go.Scatter, part: pd.DataFrame, x: str, y: str) -> None:
    for metric, bars in ((x, "error_x"), (y, "error_y")):
        interval = interval_of(metric)
        if interval is not None:
            trace[bars] = _bars(part, metric, *interval)


def _bars(part: pd.DataFrame, metric: str, low: str, high: str) -> Layout | None:
    if low not in part or high not in part:
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": scaled(metric, part[high] - part[metric]).clip(lower=0),
        "arrayminus": scaled(metric, part[metric] - part[low]).clip(lower=0),
        "thickness": 1,
        "width": 3,
    }


def _add_steps(figure: go.Figure, points: pd.DataFrame, x: str, y: str) -> None:
    """The edge of what was reached in these two: nothing lies below it."""
    best = points[points["on_front"]].sort_values(x)
    edge = best[best[y] < best[y].cummin().shift(fill_value=np.inf)]
    if len(edge) > 1:
        figure.add_trace(
            go.Scatter(
                x=scaled(x, edge[x]),
                y=scaled(y, edge[y]),
                mode="lines",
                line={"shape": "hv", "color": GREY, "width": 1, "dash": "dot"},
                hoverinfo="skip",
                showlegend=False,
            )
        )


def _add_marks(figure: go.Figure, points: pd.DataFrame, x: str, y: str, marks: Marks) -> None:
    for who, known in _references(marks, x, y):
        figure.add_trace(_mark(scaled(x, known[x]), scaled(y, known[y]), who, "star", GREY))
    names = _named(marks)
    for at in points[points["number"].isin(list(names))].to_dict("records"):
        called = names[at["number"]]
        symbol = "circle-open" if "chosen" in called else "square-open"
        figure.add_trace(_mark(scaled(x, at[x]), scaled(y, at[y]), ", ".join(called), symbol, None))
    for metric, limit in marks.limits.items():
        if metric == x:
            figure.add_vline(scaled(x, limit), line_dash="dash", line_color=GREY)
        elif metric == y:
            figure.add_hline(scaled(y, limit), line_dash="dash", line_color=GREY)


def _references(marks: Marks, *axes: str) -> list[tuple[str, Mapping[str, float]]]:
    """What trials are compared with, where all of these figures are known of it."""
    both = (("teacher", marks.teacher), ("baseline", marks.baseline))
    return [(name, known) for name, known in both if all(a in known for a in axes)]


def _named(marks: Marks) -> dict[int, list[str]]:
    """What trials with a name are called, by number."""
    called = [(marks.ship, "ship"), (marks.knee, "knee"), *((n, "chosen") for n in marks.chosen)]
    names: dict[int, list[str]] = {}
    for number, name in called:
        if number is not None:
            names.setdefault(number, []).append(name)
    return names


def _mark(x: float, y: float, name: str, symbol: str, colour: str | None) -> go.Scatter:
    marker: Layout = {"symbol": symbol, "size": 20 if colour is None else 15}
    marker |= {"color": colour} if colour else {"line": {"width": 2}, "color": "#D55E00"}
    return go.Scatter(
        x=[x],
        y=[y],
        mode="markers+text",
        text=[name],
        textposition="top center",
        cliponaxis=False,
        marker=marker,
        hoverinfo="skip",
        showlegend=False,
    )


def marks_of(study: Study, frame: pd.DataFrame, objectives: Sequence[MetricRef]) -> Marks:
    """What a chart of a whole study shows: teacher, baseline, knee and the student to ship."""
    policy, answer = policy_of(study.deterministic), answer_of(frame)
    return Marks(
        teacher={n: study.teacher_metrics[n] for n in objectives if n in study.teacher_metrics},
        limits={},
        knee=knee_number(frame, objectives, policy),
        ship=None if answer is None else answer.number,
        baseline={n: study.baseline_metrics[n] for n in objectives if n in study.baseline_metrics},
    )


def front_figures(study: Study, space: Space, frame: pd.DataFrame) -> list[go.Figure]:
    """Every cost over the first objective; with three objectives, the costs over each other."""
    names = [o for o in space.objectives if o in frame] or list(space.objectives)
    marks = marks_of(study, frame, names)
    points = downsample(frame, [str(c) for c in frame.columns]).assign(fits=True)
    points["doubt"] = doubts(points)
    pairs = [(x, names[0]) for x in names[1:3]] or [(MetricRef("size_mb"), names[0])]
    for name in {*names, *pairs[0]} - set(points.columns):  # before anything was measured
        points[name] = np.nan
    if len(names) >= 3:
        pairs.append((names[1], names[2]))
    return [front_chart(points, x, y, "family", marks, names) for x, y in pairs]
