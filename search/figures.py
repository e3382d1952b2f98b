"""Charts of a study by Plotly: pure functions of frames, for pages and reports alike.

Colours are Okabe and Ito's, told apart with any colour vision; what a colour says, a symbol says
as well. No template is set: a page gives the chart its own light or dark one.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from spaces.metrics import METRICS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999933")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon")
GREY = "#8A8A8A"
_PERCENT = {name for name, m in METRICS.items() if m.unit == "fraction"}
# Both ends are seen on white and on black, and told apart with any colour vision.
_ON_ANY_GROUND = [[0.0, "#56B4E9"], [0.5, "#8A8A8A"], [1.0, "#D55E00"]]
_MARGIN = {"l": 56, "r": 16, "t": 40, "b": 48}
_MOST_BARS = 40  # more intervals than these hide what they belong to
_BEYOND = {"color": GREY, "symbol": "circle-open", "size": 6, "opacity": 0.4}


@dataclass(frozen=True)
class Marks:
    """What a front chart shows beside the trials."""

    teacher: Mapping[str, float]
    limits: Mapping[str, float]  # by metric, as the sliders stand
    knee: int | None = None
    best: int | None = None
    chosen: Sequence[int] = ()
    baseline: Mapping[str, float] = field(default_factory=dict)  # as its bundle says
    boxed: Sequence[int] = ()  # stay bright in every chart while the others fade


_SPELLED = {"wer": "WER", "cer": "CER", "rtf": "RTF", "qoi": "QoI", "macs": "MACs"}


def name_of(metric: str) -> str:
    """A metric as people say it."""
    base, _, target = metric.partition("@")
    name = base.removesuffix("_ms").removesuffix("_mb").removesuffix("_mj").replace("_", " ")
    return _SPELLED.get(base, name).replace("wer", "WER") + (f" on {target}" if target else "")


def label(metric: str) -> str:
    """A metric with its unit, as an axis says it."""
    base = metric.partition("@")[0]
    unit = "%" if base in _PERCENT else METRICS[base].unit if base in METRICS else ""
    return f"{name_of(metric)} ({unit})" if unit else name_of(metric)


def scaled(metric: str, values: Any) -> Any:
    """Fractions as percentages."""
    return values * 100 if metric.partition("@")[0] in _PERCENT else values


def _axis(metric: str, values: pd.Series, logarithmic: bool | None = None) -> dict[str, Any]:
    """The axis of a figure: logarithmic where a cost spans more than a factor of three."""
    known = values[values > 0].dropna()
    is_error = metric.partition("@")[0] in _PERCENT
    spans = len(known) > 0 and known.max() > 3 * known.min() and not is_error
    axis: dict[str, Any] = {"title": {"text": label(metric)}}
    if not (spans if logarithmic is None else logarithmic and not is_error):
        return axis
    return {**axis, "type": "log", **_log_ticks(known)}


def _log_ticks(values: pd.Series) -> dict[str, Any]:
    """Whole figures at 1, 2 and 5, where Plotly's own would be single digits."""
    if values.empty:
        return {}
    low, high = (int(np.floor(np.log10(v))) for v in (values.min(), values.max()))
    steps = (1, 2, 5) if values.max() > 10 * values.min() else (1, 1.5, 2, 3, 4, 5, 7)
    ticks = [m * 10.0**e for e in range(low - 1, high + 2) for m in steps]
    return {"tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks]}


def front_chart(
    points: pd.DataFrame,
    x: str,
    y: str,
    colour: str,
    marks: Marks,
    told: Sequence[str],
    logarithmic: bool | None = None,
    legend: bool = True,
) -> go.Figure:
    """One side of the front: a cost over an error.

    Args:
        points: a row a trial: number, label, on_front, fits and the metrics; already thinned.
        colour: the column that colours and shapes the points.
        marks: limits, the teacher, trials with a name.
        told: figures that a tooltip tells.
        logarithmic: the axes of costs; None decides by the values.
    """
    figure = go.Figure()
    known = points.dropna(subset=[x, y])
    beyond = known[~known["fits"]]
    if len(beyond):
        trace = _points(beyond, x, y, "beyond the budgets", told, _BEYOND)
        figure.add_trace(_brushed(trace, beyond, marks).update(showlegend=False))
    for i, (value, group) in enumerate(_groups(known, colour)):
        parts = list(group[group["fits"]].groupby("on_front"))
        for on_front, part in parts:
            trace = _points(part, x, y, str(value), told, _look(i, bool(on_front)))
            is_last = on_front == parts[-1][0]  # of the front, if it has one there
            trace.update(legendgroup=trace.name, showlegend=bool(is_last))
            if on_front and len(part) <= _MOST_BARS:
                _add_intervals(trace, part, x, y)
            figure.add_trace(_brushed(trace, part, marks))
    _add_steps(figure, known, x, y)
    _add_marks(figure, known, x, y, marks)
    # Margins of their own spare a browser measuring every label again and again.
    for axes, name in ((figure.update_xaxes, x), (figure.update_yaxes, y)):
        others = [said[name] for _, said in _references(marks, name)]
        drawn = pd.concat([known[name], pd.Series(others, dtype=float)])
        axes(_axis(name, drawn, logarithmic), automargin=False)
    return figure.update_layout(
        margin=_MARGIN,
        height=430,
        showlegend=legend,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "itemsizing": "constant"},
        dragmode="pan",
        clickmode="event",
        hovermode="closest",
        hoverlabel={"align": "left"},
    )


def _groups(points: pd.DataFrame, colour: str) -> list[tuple[Any, pd.DataFrame]]:
    """Groups by value; beyond what colours and symbols tell apart, the rest together."""
    values = points[colour].astype(str)
    common = values.value_counts().index[: len(COLOURS) - 1]
    named = values.where(values.isin(common), "other")
    order = sorted(named.unique(), key=lambda v: (v == "other", v))
    return [(v, points[named == v]) for v in order]


def _look(place: int, on_front: bool) -> dict[str, Any]:
    return {
        "color": COLOURS[place % len(COLOURS)],
        "symbol": SYMBOLS[place % len(SYMBOLS)],
        "size": 12 if on_front else 6,
        "opacity": 1.0 if on_front else 0.55,
        "line": {"width": 1 if on_front else 0, "color": GREY},
    }


def _points(
    part: pd.DataFrame, x: str, y: str, name: str, told: Sequence[str], look: dict[str, Any]
) -> go.Scatter:
    """Markers that know their trial. A tooltip's words are said once, not for every point."""
    lines = [f"{label(c)}: %{{customdata[{i}]:.3~g}}" for i, c in enumerate(told)]
    return go.Scatter(
        x=scaled(x, part[x]),
        y=scaled(y, part[y]),
        mode="markers",
        name=html.escape(name),
        ids=part["number"].astype(str),  # what a click tells
        customdata=np.column_stack([scaled(c, part[c]) for c in told]),
        text=part["label"].str.slice(0, 80).map(html.escape),
        hovertemplate="<br>".join(["<b>trial %{id}</b> %{text}", *lines]) + "<extra></extra>",
        marker=look,
        selected={"marker": {"opacity": 1.0}},
        unselected={"marker": {"opacity": 0.1}},
    )


def _brushed(trace: go.Scatter, part: pd.DataFrame, marks: Marks) -> go.Scatter:
    """What is boxed in one chart stands out in all of them."""
    if marks.boxed:
        trace.selectedpoints = np.flatnonzero(part["number"].isin(marks.boxed))
    return trace


def interval_of(metric: str) -> tuple[str, str] | None:
    """The columns between which a figure lies: WER's 95 %, p5 to p95 of a latency."""
    base, at, target = metric.partition("@")
    if base == "wer":
        return f"wer_low{at}{target}", f"wer_high{at}{target}"
    if base.startswith("latency_p"):
        return f"latency_p5_ms{at}{target}", f"latency_p95_ms{at}{target}"
    return None


def _add_intervals(trace: go.Scatter, part: pd.DataFrame, x: str, y: str) -> None:
    for metric, bars in ((x, "error_x"), (y, "error_y")):
        interval = interval_of(metric)
        if interval is not None:
            trace[bars] = _bars(part, metric, *interval)


def _bars(part: pd.DataFrame, metric: str, low: str, high: str) -> dict[str, Any] | None:
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
    for who, told in _references(marks, x, y):
        figure.add_trace(_mark(scaled(x, told[x]), scaled(y, told[y]), who, "star", GREY))
    names = _named(marks)
    for at in points[points["number"].isin(list(names))].to_dict("records"):
        said = names[at["number"]]
        symbol = "circle-open" if "chosen" in said else "square-open"
        figure.add_trace(_mark(scaled(x, at[x]), scaled(y, at[y]), ", ".join(said), symbol, None))
    for metric, limit in marks.limits.items():
        if metric == x:
            figure.add_vline(scaled(x, limit), line_dash="dash", line_color=GREY)
        elif metric == y:
            figure.add_hline(scaled(y, limit), line_dash="dash", line_color=GREY)


def _references(marks: Marks, *axes: str) -> list[tuple[str, Mapping[str, float]]]:
    """What trials are compared with, where all of these figures are known of it."""
    both = (("teacher", marks.teacher), ("baseline", marks.baseline))
    return [(name, said) for name, said in both if all(a in said for a in axes)]


def _named(marks: Marks) -> dict[int, list[str]]:
    """What trials with a name are called, by number."""
    best = "best in budget" if marks.limits else "best"
    called = [(marks.best, best), (marks.knee, "knee"), *((n, "chosen") for n in marks.chosen)]
    names: dict[int, list[str]] = {}
    for number, name in called:
        if number is not None:
            names.setdefault(number, []).append(name)
    return names


def _mark(x: float, y: float, name: str, symbol: str, colour: str | None) -> go.Scatter:
    marker: dict[str, Any] = {"symbol": symbol, "size": 20 if colour is None else 15}
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


def front_in_space(
    points: pd.DataFrame, axes: tuple[str, str, str], colour: str, marks: Marks
) -> go.Figure:
    """Three figures at once, with what `front_chart` shows of them."""
    figure = go.Figure()
    known = points.dropna(subset=list(axes))
    beyond = known[~known["fits"]]
    if len(beyond):
        look = {"color": GREY, "symbol": "circle-open", "size": 3, "opacity": 0.4}
        name = "beyond the budgets"
        figure.add_trace(_points_in_space(beyond, axes, name, look).update(showlegend=False))
    for i, (value, group) in enumerate(_groups(known, colour)):
        parts = list(group[group["fits"]].groupby("on_front"))
        for on_front, part in parts:
            look = {
                "color": COLOURS[i % len(COLOURS)],
                "symbol": _IN_SPACE[i % len(_IN_SPACE)],
                "size": 6 if on_front else 3,
                "opacity": 1.0 if on_front else 0.35,
            }
            trace = _points_in_space(part, axes, str(value), look)
            is_last = on_front == parts[-1][0]
            figure.add_trace(trace.update(legendgroup=trace.name, showlegend=bool(is_last)))
    _add_marks_in_space(figure, known, axes, marks)
    grid = {"gridcolor": "rgba(128,128,128,0.4)", "showbackground": False, "zeroline": False}
    scene: dict[str, Any] = {
        f"{name}axis": {**_axis(a, known[a]), **grid} for name, a in zip("xyz", axes, strict=True)
    }
    scene |= {"aspectmode": "cube", "camera": {"eye": {"x": 1.5, "y": 1.5, "z": 0.9}}}
    figure.update_layout(scene=scene, margin={"l": 0, "r": 0, "t": 8, "b": 24}, height=520)
    figure.update_layout(uirevision="space", legend={"orientation": "h", "y": 1.05})
    return figure


_IN_SPACE = ("circle", "square", "diamond", "cross", "x")  # those that Plotly has there


def _points_in_space(
    part: pd.DataFrame, axes: tuple[str, str, str], name: str, look: dict[str, Any]
) -> go.Scatter3d:
    told = "<br>".join(f"{label(a)}: %{{{n}:.3~g}}" for n, a in zip("xyz", axes, strict=True))
    return go.Scatter3d(
        **{n: scaled(a, part[a]) for n, a in zip("xyz", axes, strict=True)},
        mode="markers",
        name=html.escape(name),
        text=part["label"].str.slice(0, 80).map(html.escape),
        ids=part["number"].astype(str),
        hovertemplate=f"<b>trial %{{id}}</b> %{{text}}<br>{told}<extra></extra>",
        marker=look,
    )


def _add_marks_in_space(
    figure: go.Figure, points: pd.DataFrame, axes: tuple[str, str, str], marks: Marks
) -> None:
    called = _named(marks)
    rows = points[points["number"].isin(list(called))].to_dict("records")
    named = [(", ".join(called[at["number"]]), at) for at in rows]
    for name, at in [*_references(marks, *axes), *named]:
        figure.add_trace(
            go.Scatter3d(
                **{n: [scaled(a, at[a])] for n, a in zip("xyz", axes, strict=True)},
                mode="markers+text",
                text=[name],
                marker={"symbol": "diamond-open", "size": 9, "color": GREY},
                hoverinfo="skip",
                showlegend=False,
            )
        )


def parallel_coordinates(points: pd.DataFrame, columns: Sequence[str], by: str) -> go.Figure:
    """A line a trial over axes and objectives, for trials that have a value on each of them; names
    become places on their axis."""
    columns = [c for c in columns if points[c].notna().any()]
    known = points.dropna(subset=[*columns, by])
    dimensions = []
    for column in columns:
        values = known[column]
        if values.dtype == object or str(values.dtype) in ("str", "string", "category"):
            names = sorted(values.astype(str).unique())
            codes = values.astype(str).map({v: i for i, v in enumerate(names)})
            dimensions.append(
                {
                    "label": column,
                    "values": codes,
                    "tickvals": list(range(len(names))),
                    "ticktext": [n[:16] for n in names],
                }
            )
        else:
            dimensions.append(
                {"label": label(column), "values": scaled(column, values), "tickformat": ".3~g"}
            )
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": scaled(by, known[by]),
                "colorscale": _ON_ANY_GROUND,
                "showscale": True,
                "colorbar": {"title": label(by)},
            },
        )
    )
    return figure.update_layout(height=460, margin={"l": 110, "r": 40, "t": 60, "b": 24})


def bars(values: Mapping[str, float], title: str, percent: bool = True) -> go.Figure:
    """Horizontal bars, the longest on top."""
    ordered = sorted(values.items(), key=lambda item: item[1])
    figure = go.Figure(
        go.Bar(
            x=[v for _, v in ordered],
            y=[k for k, _ in ordered],
            orientation="h",
            marker={"color": COLOURS[0]},
            hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        )
    )
    height = 90 + 24 * len(ordered)
    figure.update_layout(
        title=title, height=height, margin={"l": 8, "r": 16, "t": 40, "b": 32}, showlegend=False
    )
    return figure.update_xaxes(tickformat=".0%" if percent else None)


def heat(frame: pd.DataFrame, title: str) -> go.Figure:
    """Rank correlations: rows move columns."""
    figure = go.Figure(
        go.Heatmap(
            z=frame.to_numpy(),
            x=[label(c) for c in frame.columns],
            y=list(frame.index),
            zmin=-1,
            zmax=1,
            colorscale="RdBu_r",
            texttemplate="%{z:+.2f}",
            colorbar={"title": "ρ"},
        )
    )
    height = 140 + 26 * len(frame)
    return figure.update_layout(
        title=title, height=height, margin={"l": 8, "r": 8, "t": 40, "b": 60}
    )


def over_time(
    series: Mapping[str, tuple[Sequence[Any], Sequence[float]]], x: str, y: str
) -> go.Figure:
    """Lines that go up in steps."""
    figure = go.Figure()
    for i, (name, (xs, ys)) in enumerate(series.items()):
        figure.add_trace(
            go.Scatter(
                x=list(xs),
                y=list(ys),
                name=name,
                mode="lines",
                line={"shape": "hv", "color": COLOURS[i % len(COLOURS)]},
            )
        )
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y, rangemode="tozero")
    return figure.update_layout(
        height=280,
        margin=_MARGIN,
        showlegend=len(series) > 1,
        legend={"orientation": "h", "y": 1.15},
        uirevision=y,
    )


def distribution(samples: Mapping[str, Sequence[float]], x: str) -> go.Figure:
    """Raw samples of each subject: a box with its points beside it."""
    figure = go.Figure()
    for i, (name, values) in enumerate(samples.items()):
        array = np.asarray(values, float)
        if len(array) > 2000:  # a page need not carry them all: as many quantiles, even ones
            array = np.quantile(array, np.linspace(0, 1, 2000))
        figure.add_trace(
            go.Box(
                x=array,
                name=name,
                boxpoints="outliers",
                marker={"color": COLOURS[i % len(COLOURS)], "size": 3},
            )
        )
    every = pd.Series(np.concatenate([np.asarray(v, float) for v in samples.values()]))
    figure.update_xaxes(title_text=x, type="log", **_log_ticks(every[every > 0]))
    return figure.update_layout(
        height=110 + 70 * len(samples), margin={**_MARGIN, "l": 90}, showlegend=False
    )


_LEARNED = {"dev_wer": "WER on dev (%)", "train_ctc": "CTC loss in training"}


def learning_curves(curves: Mapping[str, Sequence[Mapping[str, float]]], key: str) -> go.Figure:
    """A figure of every epoch; the first curve is the one in question."""
    figure = go.Figure()
    for i, (name, history) in reversed(list(enumerate(curves.items()))):
        known = {h["epoch"]: h[key] for h in history if h.get(key) is not None}
        figure.add_trace(
            go.Scatter(
                x=list(known),
                y=[scaled(key.removeprefix("dev_"), v) for v in known.values()],
                name=name,
                mode="lines",
                line={"color": COLOURS[0] if i == 0 else GREY, "width": 3 if i == 0 else 1},
                opacity=1.0 if i == 0 else 0.5,
                showlegend=i == 0,
            )
        )
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(title_text=_LEARNED.get(key, key.replace("_", " ")))
    return figure.update_layout(height=300, margin=_MARGIN)


def waveform(samples: np.ndarray, rate_hz: int) -> go.Figure:
    """Extremes of each of at most 1,500 stretches: what a screen can show."""
    step = max(1, len(samples) // 1500)
    cut = samples[: len(samples) // step * step].reshape(-1, step)
    seconds = np.arange(len(cut)) * step / rate_hz
    figure = go.Figure()
    for edge, fill in ((cut.max(axis=1), None), (cut.min(axis=1), "tonexty")):
        figure.add_trace(
            go.Scatter(
                x=seconds, y=edge, fill=fill, mode="lines", line={"width": 0.5, "color": COLOURS[0]}
            )
        )
    figure.update_xaxes(title_text="time (s)")
    return figure.update_layout(
        height=140, margin={"l": 40, "r": 8, "t": 8, "b": 36}, showlegend=False
    )


def spectrogram(features: np.ndarray, frames_per_second: int) -> go.Figure:
    """The filter banks that the student hears, float32 [frames, 80]."""
    figure = go.Figure(
        go.Heatmap(
            z=features.T,
            x=np.arange(len(features)) / frames_per_second,
            colorscale="Viridis",
            showscale=False,
            hovertemplate="%{x:.2f} s, bin %{y}: %{z:.1f}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="time (s)")
    figure.update_yaxes(title_text="mel bin")
    return figure.update_layout(height=220, margin={"l": 48, "r": 8, "t": 8, "b": 36})


def scatter_by_utterance(
    a: Sequence[int], b: Sequence[int], texts: Sequence[str], names: tuple[str, str]
) -> go.Figure:
    """Word errors of two students, an utterance a point; equal points grow."""
    frame = pd.DataFrame({"a": a, "b": b, "text": texts})
    grouped = frame.groupby(["a", "b"])["text"].agg(["size", lambda s: "<br>".join(_safe(s))])
    grouped.columns = pd.Index(["n", "texts"])
    grouped = grouped.reset_index()
    worst = int(max([*a, *b, 1]))
    figure = go.Figure(
        go.Scatter(
            x=grouped["a"],
            y=grouped["b"],
            mode="markers",
            text=grouped["texts"],
            hovertemplate="%{text}<extra></extra>",
            marker={"size": 6 + 4 * np.sqrt(grouped["n"]), "color": COLOURS[0], "opacity": 0.6},
        )
    )
    figure.add_shape(
        type="line", x0=0, y0=0, x1=worst, y1=worst, line={"dash": "dot", "color": GREY}
    )
    figure.update_xaxes(title_text=f"word errors of {names[0]}")
    figure.update_yaxes(title_text=f"word errors of {names[1]}")
    return figure.update_layout(height=380, margin=_MARGIN)


def _safe(texts: Sequence[str]) -> list[str]:
    """A few transcripts for a tooltip, which reads markup."""
    return [html.escape(str(t)[:80]) for t in list(texts)[:6]]
