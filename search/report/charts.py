"""Charts of a study by Plotly: pure functions of frames, for pages and reports alike.

Colours are Okabe and Ito's, told apart with any colour vision; what a colour says, a symbol says
as well. No template is set: a page gives the chart its own light or dark one.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from search.report.labels import PERCENT, metric_label, scaled
from spaces.metrics import MetricRef
from workers.results import Epoch

Layout = dict[str, object]  # as Plotly takes it

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999933")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon")
GREY = "#8A8A8A"
# Both ends are seen on white and on black, and told apart with any colour vision.
_ON_ANY_GROUND = [[0.0, "#56B4E9"], [0.5, "#8A8A8A"], [1.0, "#D55E00"]]
GRID = "rgba(128,128,128,0.25)"  # seen on white and on black
MARGIN = {"l": 56, "r": 16, "t": 40, "b": 48}


def axis_of(metric: str, values: pd.Series, logarithmic: bool | None = None) -> Layout:
    """The axis of a figure: logarithmic where a cost spans more than a factor of three."""
    known = values[values > 0].dropna()
    is_error = MetricRef.of(metric).name in PERCENT
    spans = len(known) > 0 and known.max() > 3 * known.min() and not is_error
    axis: Layout = {"title": {"text": metric_label(metric)}, "gridcolor": GRID}
    if not (spans if logarithmic is None else logarithmic and not is_error):
        return axis
    return {**axis, "type": "log", **_log_ticks(known)}


def _log_ticks(values: pd.Series) -> Layout:
    """Whole figures at 1, 2 and 5, where Plotly's own would be single digits."""
    if values.empty:
        return {}
    low, high = (int(np.floor(np.log10(v))) for v in (values.min(), values.max()))
    steps = (1, 2, 5) if values.max() > 10 * values.min() else (1, 1.5, 2, 3, 4, 5, 7)
    ticks = [m * 10.0**e for e in range(low - 1, high + 2) for m in steps]
    return {"tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks]}


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
            codes = values.astype(str).map({v: float(i) for i, v in enumerate(names)})
            dimensions.append(
                {
                    "label": column,
                    "values": codes + _spread(codes),
                    "tickvals": list(range(len(names))),
                    "ticktext": [n[:16] for n in names],
                    "range": [-0.5, len(names) - 0.5],
                }
            )
        else:
            dimensions.append(
                {
                    "label": metric_label(column),
                    "values": scaled(column, values),
                    "tickformat": ".3~g",
                }
            )
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": scaled(by, known[by]),
                "colorscale": _ON_ANY_GROUND,
                "showscale": True,
                "colorbar": {"title": metric_label(by)},
            },
        )
    )
    return figure.update_layout(height=460, margin={"l": 110, "r": 40, "t": 60, "b": 24})


def _spread(codes: pd.Series) -> pd.Series:
    """Lines of one category a little apart, so that one sees how many there are."""
    place = codes.groupby(codes).cumcount()
    count = codes.map(codes.value_counts())
    return (place - (count - 1) / 2) / count.clip(lower=2) * _CATEGORY


_CATEGORY = 0.6  # of the way to the next


def bars(
    values: Mapping[str, float],
    title: str,
    percent: bool = True,
    intervals: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> go.Figure:
    """Horizontal bars, the longest on top, with their intervals where these are known."""
    ordered = sorted(values.items(), key=lambda item: item[1])
    figure = go.Figure(
        go.Bar(
            x=[v for _, v in ordered],
            y=[k for k, _ in ordered],
            orientation="h",
            marker={"color": COLOURS[0]},
            error_x=_ends([(v, *intervals[k]) for k, v in ordered]) if intervals else None,
            hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        )
    )
    height = 90 + 24 * len(ordered)
    figure.update_layout(
        title=title, height=height, margin={"l": 8, "r": 16, "t": 40, "b": 32}, showlegend=False
    )
    return figure.update_xaxes(tickformat=".0%" if percent else None)


def _ends(values: Sequence[tuple[float, float, float]]) -> Layout:
    """Bars from figures to the ends of their intervals."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, _, high in values],
        "arrayminus": [value - low for value, low, _ in values],
        "color": GREY,
        "thickness": 2,
    }


def correlation_heatmap(frame: pd.DataFrame, title: str) -> go.Figure:
    """Rank correlations: rows move columns."""
    figure = go.Figure(
        go.Heatmap(
            z=frame.to_numpy(),
            x=[metric_label(c) for c in frame.columns],
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
    series: Mapping[str, tuple[Sequence[float] | Sequence[datetime], Sequence[float]]],
    x: str,
    y: str,
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
    figure.update_xaxes(title_text=x, gridcolor=GRID)
    figure.update_yaxes(title_text=y, rangemode="tozero", gridcolor=GRID)
    return figure.update_layout(
        height=280,
        margin=MARGIN,
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
        height=110 + 70 * len(samples), margin={**MARGIN, "l": 90}, showlegend=False
    )


_LEARNED = {"dev_wer": "WER on dev (%)", "train_ctc": "CTC loss in training"}


def learning_curves(curves: Mapping[str, Sequence[Epoch]], key: str) -> go.Figure:
    """A figure of every epoch, `dev_wer` or `train_ctc`; the first curve is the one in question."""
    figure = go.Figure()
    scale = 100 if key == "dev_wer" else 1
    for i, (name, history) in reversed(list(enumerate(curves.items()))):
        values = [(e.epoch, getattr(e, key)) for e in history]
        known = [(epoch, value * scale) for epoch, value in values if value is not None]
        figure.add_trace(
            go.Scatter(
                x=[epoch for epoch, _ in known],
                y=[value for _, value in known],
                name=name,
                mode="lines",
                line={"color": COLOURS[0] if i == 0 else GREY, "width": 3 if i == 0 else 1},
                opacity=1.0 if i == 0 else 0.5,
                showlegend=i == 0,
            )
        )
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(title_text=_LEARNED[key])
    return figure.update_layout(height=300, margin=MARGIN)


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
    return figure.update_layout(height=380, margin=MARGIN)


def _safe(texts: Sequence[str]) -> list[str]:
    """A few transcripts for a tooltip, which reads markup."""
    return [html.escape(str(t)[:80]) for t in list(texts)[:6]]
