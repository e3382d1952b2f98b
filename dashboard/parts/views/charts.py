"""Costs over errors, or any figure over any other; a click opens a trial, a box keeps several."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.parts.address import open_trial
from dashboard.parts.points import points_chart
from dashboard.parts.table import trial_rows
from dashboard.parts.views.seen import COLOURS, Seen
from search.analysis.trial_frame import is_measured, metrics_in
from search.report.front_charts import front_chart
from search.report.labels import format_metric, metric_label, scaled
from spaces.metrics import MetricRef

_BAND = "band"  # the column of a colour that is a figure
_HOLLOW = (
    "Large: on the front. Hollow: a place on the front that less than 95 % of draws give, or times "
    "that were not measured in quiet. Bars: 95 %, errors on other dev sets, times at another hour."
)


def charts(seen: Seen, is_narrow: bool) -> None:
    """Every cost over the error, side by side; below each other where a trial stands beside."""
    error, *costs = seen.names
    pairs = [(cost, error) for cost in costs[:2]] or [(error, error)]
    if len(costs) >= 2:
        pairs.append((costs[0], costs[1]))
    left, right = st.columns(2)
    log = _logarithmic(left)
    colour = right.selectbox(
        "Colour and symbol", COLOURS, format_func=COLOURS.get, key="colour", bind="query-params"
    )
    cells = [st.container() for _ in pairs] if is_narrow else [*st.columns(2), *st.columns(2)]
    for place, (cell, (x, y)) in enumerate(zip(cells, pairs, strict=False)):
        draw(cell, seen, x, y, str(colour), log, legend=place == 0)
    say_what_is_drawn(seen, [m for pair in pairs for m in pair])
    _boxed(seen)


def free(seen: Seen, is_narrow: bool) -> None:
    """Any figure of any target on both axes and as the colour, the front's table beside it."""
    known = metrics_in(seen.trials)
    error, *costs = seen.names
    cells = st.columns(3)
    x = _axis(cells[0], "Across", known, (costs or [error])[0], "x")
    y = _axis(cells[1], "Up", known, error, "y")
    choices = [*COLOURS, *known]
    colour = str(
        cells[2].selectbox(
            "Colour",
            choices,
            format_func=lambda c: COLOURS.get(c) or metric_label(c),
            key="by-colour",
            bind="query-params",
        )
    )
    log = _logarithmic(st.container())
    areas = [st.container(), st.container()] if is_narrow else st.columns([3, 2])
    draw(areas[0], seen, x, y, colour, log, legend=True)
    with areas[1]:
        best = seen.trials[seen.trials["on_front"] & seen.trials["fits"]]
        shown = list(dict.fromkeys([x, y, *seen.names]))
        trial_rows(best.sort_values(y), shown, "free-rows")
    say_what_is_drawn(seen, [x, y])


def _logarithmic(cell: DeltaGenerator) -> bool:
    return cell.toggle(
        "Logarithmic axes where they help", value=True, key="log", bind="query-params"
    )


def _axis(
    cell: DeltaGenerator, label: str, known: list[MetricRef], first: MetricRef, key: str
) -> MetricRef:
    place = known.index(first) if first in known else 0
    chosen = cell.selectbox(
        label, known, index=place, format_func=metric_label, key=key, bind="query-params"
    )
    return MetricRef.of(str(chosen))


def draw(
    cell: DeltaGenerator,
    seen: Seen,
    x: MetricRef,
    y: MetricRef,
    colour: str,
    log: bool,
    legend: bool,
) -> None:
    """One chart whose points open their trials."""
    columns = dict.fromkeys([*seen.names, x, y])
    points = seen.points
    lacking = [m for m in dict.fromkeys((x, y, colour)) if m not in points]
    if lacking:
        more = seen.trials.set_index("number")[lacking].loc[points["number"]]
        points = points.assign(**{m: more[m].to_numpy() for m in lacking})
    if colour not in COLOURS:
        points = points.assign(**{_BAND: _bands(points[colour], MetricRef.of(colour))})
        colour = _BAND
    figure = front_chart(
        points, x, y, colour, seen.marks, list(columns), None if log else False, legend
    )
    figure.update_layout(  # what was zoomed into or boxed is kept while these are the same
        uirevision=f"{seen.study.id} {log}",
        selectionrevision=st.session_state.get("boxes", 0),
    )
    with cell:
        points_chart(
            figure,
            key=f"front-{x}-{y}",
            alt=f"{metric_label(y)} over {metric_label(x)} of the trials; the front is large",
            picked=open_trial,
            boxed=partial(_keep_box, seen.trials, x, y),
        )


def _bands(values: pd.Series, metric: MetricRef) -> pd.Series:
    """A figure as a colour: five ranges that hold as many trials each."""
    known = values.dropna()
    if known.empty:
        return pd.Series("not measured", index=values.index)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, 6)))
    names = [
        f"{i}: {format_metric(metric, low)} to {format_metric(metric, high)}"
        for i, (low, high) in enumerate(itertools.pairwise(edges), 1)
    ] or [format_metric(metric, float(edges[0]))]
    places = np.clip(np.searchsorted(edges, values.to_numpy(float), "left") - 1, 0, len(names) - 1)
    told = pd.Series([names[place] for place in places], index=values.index)
    return told.where(values.notna(), "not measured")


def say_what_is_drawn(seen: Seen, metrics: Sequence[MetricRef]) -> None:
    """How many of how many, and what is not."""
    measured = seen.trials[is_measured(seen.trials)]
    lacking = int(measured[list(set(metrics))].isna().any(axis=1).sum())
    told = [_HOLLOW]
    if len(seen.points) < seen.n_points:
        told.append(
            f"Drawn: the front and an even share of the others, {len(seen.points)} of "
            f"{seen.n_points} trials."
        )
    if lacking:
        told.append(f"{lacking} measured trials lack one of these figures and are not drawn.")
    st.caption(" ".join(told))


def _keep_box(trials: pd.DataFrame, x: str, y: str, edges: Sequence[float]) -> None:
    """Every trial inside, also those that the charts leave out for there being too many."""
    if not edges:
        _drop_box()
        return
    inside = is_measured(trials)
    for name, limits in ((x, edges[:2]), (y, edges[2:])):
        inside &= scaled(name, trials[name]).between(min(limits), max(limits))
    st.session_state["boxed"] = trials.loc[inside, "number"].tolist()


def _drop_box() -> None:
    st.session_state["boxed"] = []
    st.session_state["boxes"] = st.session_state.get("boxes", 0) + 1


def _boxed(seen: Seen) -> None:
    numbers = st.session_state.get("boxed", [])
    inside = seen.trials[np.isin(seen.trials["number"], numbers)]
    if len(inside):
        words, button = st.columns([6, 1], vertical_alignment="center")
        words.caption(f"{len(inside)} trials in the box")
        button.button("Drop", on_click=_drop_box, key="drop-box")
        trial_rows(inside.sort_values(seen.names[0]), seen.names, "boxed-rows")
