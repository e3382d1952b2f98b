"""The front: what is worth having, under which budgets, and which one to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.caching import frame, space_of
from dashboard.parts.choice import (
    choose_target,
    chosen_trial,
    open_trial,
    same_study,
    study_or_stop,
)
from dashboard.parts.control import search_further
from dashboard.parts.points import points_chart
from dashboard.parts.table import trial_rows
from dashboard.parts.trial import show_trial, where
from dashboard.queries import LIVE_STATES
from search.analysis.elsewhere import lines_on
from search.analysis.front import front_numbers, knee_number
from search.analysis.importance import axis_importances
from search.analysis.pick import best_number, fits, limits_of
from search.analysis.trial_frame import common_axes, downsample, is_measured, rank_correlations
from search.policy import Policy, policy_of
from search.report.charts import bars, correlation_heatmap, parallel_coordinates
from search.report.export import as_csv, as_parquet
from search.report.front_charts import Marks, front_chart, front_in_space, interval_of
from search.report.labels import format_metric, metric_label, metric_name, scaled
from search.report.redaction import file_name
from spaces.metrics import MetricRef
from spaces.space import Space
from storage.records import Study

_COLOURS = {
    "family": "family",
    "bits": "number format",
    "pruned": "pruned share",
    "source": "who proposed it",
}
_MOST_FIGURES = 6  # with a slider each
_MOST_AXES = 14  # side by side
_REFRESH_S = 4
_VIEWS = ("Charts", "3-D", "Axes", "What matters", "Table")
_ALL = "all families"
_CLICKED = ("Charts", "3-D", "Table")


@dataclass(frozen=True)
class _Seen:
    """What a view draws: `names` are its figures, an error first; `points` what a chart carries."""

    study: Study
    trials: pd.DataFrame
    points: pd.DataFrame
    names: list[MetricRef]
    colour: str
    marks: Marks
    log: bool


def page() -> None:
    study = study_or_stop()
    space = space_of(study)
    st.title("Front")
    every = _REFRESH_S if study.state in LIVE_STATES else None
    st.fragment(_choose, run_every=every)(study.name, space)


def _choose(name: str, space: Space) -> None:
    """Budgets, charts and the chosen trial: one fragment, so that a slider redraws only this.

    What was chosen lies in the session, so that new trials of a running study change none of it.
    """
    study = same_study(name)
    trials = frame(study)
    if not is_measured(trials).any():
        more = "the front appears with the first" if study.state in LIVE_STATES else "no front"
        st.info(f"No trial has been measured{' yet' * (study.state in LIVE_STATES)}; {more}.")
        return
    several = len(space.targets) > 1
    top = st.columns([4, 2, 2] if several else [4, 2], vertical_alignment="bottom")
    view = top[0].segmented_control(
        "View", _VIEWS, default=_VIEWS[0], required=True, key="front-view"
    )
    colour = top[1].selectbox("Colour and symbol", _COLOURS, format_func=_COLOURS.get)
    with top[-1]:
        target = choose_target(space, "front-target")
    names = _columns(space, target, trials)
    bases = {o.name for o in space.objectives}
    judged, policy = [n for n in names if n.name in bases], policy_of(study.deterministic)
    trials = _on_target(trials, space, judged, policy)
    log = st.session_state.get("front-log", True)
    limits = _budgets(study, trials, names, space)
    intervals = [column for n in names for column in interval_of(n) or ()]
    points = downsample(trials, [*_COLOURS, *names, *intervals])
    points = points.assign(fits=fits(points, limits_of(limits)))
    marks = Marks(
        teacher=_reference(study.teacher_metrics, names),
        baseline=_reference(study.baseline_metrics, names),
        limits=limits,
        knee=knee_number(trials, judged, policy),
        best=best_number(trials, names[0], limits_of(limits)),
        chosen=[n for n in [chosen_trial(trials["number"].tolist())] if n is not None],
        boxed=st.session_state.get("boxed", []),
    )
    _verdict(trials, limits, marks, names[0])
    with st.container():  # there at any time: charts that move are drawn anew, and lose their zoom
        if limits:
            search_further(study, limits)
    st.caption(where(space, target))
    for line in lines_on(trials, [target]):
        st.caption(line)
    with st.container():  # what stands below keeps its place, and is not drawn twice meanwhile
        _VIEW[view](_Seen(study, trials, points, names, str(colour), marks, log))
    number = chosen_trial(trials["number"].tolist())
    if number is None and view in _CLICKED:
        st.caption("Click a point, or choose a row of the table (by keyboard: Shift and Space).")
    if number is not None:
        st.divider()
        show_trial(study, space, number, trials)


def _columns(space: Space, target: str, trials: pd.DataFrame) -> list[MetricRef]:
    """The objectives as figures of the chosen target, the first an error if there is one."""
    wanted: list[MetricRef] = []
    others = map(MetricRef, ("wer", "latency_p50_ms", "size_mb"))
    for metric in (*space.objectives, *others):
        is_here = metric.known.per_target and not metric.target and target != space.first_target
        name = metric.on(target) if is_here and metric.on(target) in trials else metric
        if name in trials and trials[name].notna().any() and name not in wanted:
            wanted.append(name)
    errors = [n for n in wanted if n.name in ("wer", "cer")]
    return (errors[:1] + [n for n in wanted if n not in errors[:1]])[:_MOST_FIGURES]


def _on_target(
    trials: pd.DataFrame, space: Space, judged: list[MetricRef], policy: Policy
) -> pd.DataFrame:
    """The front as seen on another target than the first, where its figures differ."""
    if set(space.objectives) <= set(judged):
        return trials
    seen = trials.assign(on_front=False)
    best = front_numbers(seen, judged, policy)
    seen.loc[seen["number"].isin(best), "on_front"] = True
    return seen


def _budgets(
    study: Study, trials: pd.DataFrame, names: list[MetricRef], space: Space
) -> dict[str, float]:
    """A slider for each objective; the limits that were moved."""
    measured = is_measured(trials)
    limits: dict[str, float] = {}
    hard = {b.metric: b for b in space.budgets}
    columns = st.columns(len(names))
    for column, name in zip(columns, names, strict=True):
        higher = name.known.higher_is_better
        nothing = -math.inf if higher else math.inf
        key = f"budget-{study.id}-{name}"
        kept = st.session_state.get(key, nothing)  # stays a stop, whatever was measured since
        stops = [*_steps(trials.loc[measured, name].dropna()), kept, nothing]
        asked = column.select_slider(
            f"{metric_name(name)} {'at least' if higher else 'at most'}",
            options=sorted({_limit(name, s): s for s in stops}.values()),
            value=nothing,
            format_func=partial(_limit, name),
            key=key,
            help=f"The space says {hard[name]}" if name in hard else None,
        )
        if math.isfinite(asked):
            limits[name] = float(asked)
    return limits


def _limit(metric: str, value: float) -> str:
    return "any" if math.isinf(value) else format_metric(metric, value)


def _steps(values: pd.Series) -> list[float]:
    """Some sixty stops over the values, evenly by rank, each told apart by three digits."""
    if values.empty:
        return []
    found = np.unique(np.quantile(values, np.linspace(0, 1, 60)))
    return [float(f"{v:.3g}") for v in found]


def _reference(known: Mapping[str, float], names: list[MetricRef]) -> dict[str, float]:
    """Figures of a teacher or baseline; errors of another target stand in where it has none."""
    out: dict[str, float] = {}
    for name in names:
        value = known.get(name, known.get(name.name) if "wer" in name else None)
        if value is not None:
            out[name] = value
    return out


def _verdict(trials: pd.DataFrame, limits: dict[str, float], marks: Marks, error: str) -> None:
    """How many meet the budgets, and which is best, in words and as buttons."""
    complete = trials["state"] == "complete"
    count, inside = int(complete.sum()), int((complete & fits(trials, limits_of(limits))).sum())
    words = f"{inside} of {count} complete trials meet these budgets"
    words += "; the others are grey" if limits else ""
    cells = st.columns([4, 2, 2])
    cells[0].markdown(f"**{words}**")
    if marks.best is not None:
        best = trials.loc[trials["number"] == marks.best].iloc[0]
        cells[1].button(
            f"Best here: trial {marks.best}, {format_metric(error, best[error])}",
            on_click=open_trial,
            args=(marks.best,),
            type="primary",
            key="front-best",  # or a label that changes under the finger loses the click
        )
    elif inside == 0 and count:
        cells[1].caption("Nothing meets them: move a slider back")
    if marks.knee is not None:
        cells[2].button(
            f"Knee: trial {marks.knee}",
            on_click=open_trial,
            args=(marks.knee,),
            key="front-knee",
        )


def _charts(seen: _Seen) -> None:
    """Every cost over the error, side by side; a click or a box chooses."""
    error, *costs = seen.names
    st.toggle("Logarithmic axes where they help", value=True, key="front-log")
    pairs = [(cost, error) for cost in costs[:2]] or [(error, error)]
    if len(costs) >= 2:
        pairs.append((costs[0], costs[1]))
    cells = [*st.columns(2), *st.columns(2)]
    for cell, (x, y) in zip(cells, pairs, strict=False):
        figure = front_chart(
            seen.points,
            x,
            y,
            seen.colour,
            seen.marks,
            seen.names,
            None if seen.log else False,
            (x, y) == pairs[0],
        )
        figure.update_layout(  # what was zoomed into or boxed is kept while these are the same
            uirevision=f"{seen.study.id} {seen.log}",
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
    _boxed(seen.trials, seen.names)


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


def _boxed(trials: pd.DataFrame, names: Sequence[str]) -> None:
    numbers = st.session_state.get("boxed", [])
    inside = trials[trials["number"].isin(numbers)]
    if len(inside):
        words, button = st.columns([6, 1], vertical_alignment="center")
        words.caption(f"{len(inside)} trials in the box")
        button.button("Drop", on_click=_drop_box, key="drop-box")
        trial_rows(inside.sort_values(names[0]), names, "boxed-rows")


def _space_view(seen: _Seen) -> None:
    if len(seen.names) < 3:
        st.info("Three figures are needed; this study has fewer objectives.")
        return
    x, y, z = seen.names[1], seen.names[2], seen.names[0]
    points_chart(
        front_in_space(seen.points, (x, y, z), seen.colour, seen.marks),
        key="front-3d",
        alt=f"{metric_label(x)}, {metric_label(y)} and {metric_label(z)} of the trials in space",
        picked=open_trial,
    )


def _axes_view(seen: _Seen) -> None:
    inside = seen.trials[fits(seen.trials, limits_of(seen.marks.limits))].dropna(subset=seen.names)
    some = downsample(inside, inside.columns, most=300)
    if some.empty:
        st.info("No trial that meets these budgets has all of these figures.")
        return
    axes = common_axes(some)
    columns = [*list(axes)[: _MOST_AXES - len(seen.names)], *seen.names]
    st.plotly_chart(
        parallel_coordinates(axes.join(some[seen.names]), columns, seen.names[0]),
        key="parallel",
        alt="A line for each trial over its axes and figures",
    )


def _matters_view(seen: _Seen) -> None:
    space = space_of(seen.study)
    complete = seen.trials[seen.trials["state"] == "complete"]
    families = sorted(complete["family"].unique())
    if len(families) > 1:
        among = st.selectbox("Among", [_ALL, *families], key="matters-among")
        if among == _ALL:
            st.caption("Axes that belong to one family count when that family is chosen.")
        else:
            complete = complete[complete["family"] == among]
    if len(complete) < 8:
        st.info("Eight complete trials are needed to say what matters; there are fewer.")
        return
    cells = [*st.columns(3), *st.columns(3)]
    for cell, name in zip(cells, seen.names, strict=False):
        found = axis_importances(space, complete, name)
        if found:
            cell.plotly_chart(
                bars(found, f"{metric_label(name)}: which axis matters"),
                key=f"importance-{name}",
                alt=f"Share of the differences in {metric_label(name)} that each axis explains",
            )
    st.plotly_chart(
        correlation_heatmap(
            rank_correlations(complete, seen.names),
            "Which way an axis moves an objective (rank correlation)",
        ),
        key="rank-correlations",
        alt="Rank correlation of every numeric axis with every objective",
    )
    st.caption(
        "Importances by PED-ANOVA over the complete trials (Watanabe et al., 2023); a correlation "
        "of few trials says little."
    )


def _table_view(seen: _Seen) -> None:
    only_front = st.toggle("Only the front", value=True, key="only-front")
    rows = seen.trials[seen.trials["on_front"]] if only_front else seen.trials
    trial_rows(rows.sort_values(seen.names[0]), seen.names, "all-rows")
    st.download_button(
        "All trials as CSV",
        lambda: as_csv(seen.trials),
        f"{file_name(seen.study.name)}.csv",
        "text/csv",
        on_click="ignore",
    )
    st.download_button(
        "All trials as Parquet",
        lambda: as_parquet(seen.trials),
        f"{file_name(seen.study.name)}.parquet",
        on_click="ignore",
    )


_VIEW = {
    "Charts": _charts,
    "3-D": _space_view,
    "Axes": _axes_view,
    "What matters": _matters_view,
    "Table": _table_view,
}

page()
