"""The front: which student to ship under which budgets, and what else is worth having."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd
import streamlit as st

from dashboard.caching import frame, space_of
from dashboard.parts.address import chosen_trial, close_trial, keep_links, remember_front
from dashboard.parts.answer import answer_card
from dashboard.parts.budgets import choose_budgets
from dashboard.parts.choice import choose_target, same_study, study_or_stop
from dashboard.parts.control import search_further
from dashboard.parts.trial import no_such_trial, show_trial, where
from dashboard.parts.views.axes import axes
from dashboard.parts.views.charts import charts, free
from dashboard.parts.views.matters import matters
from dashboard.parts.views.rows import rows
from dashboard.parts.views.seen import COLOURS, Seen
from search.analysis.answer import Answer
from search.analysis.elsewhere import lines_on
from search.analysis.front import chances_on_front, knee_number, members_of
from search.analysis.pick import fits, limits_of
from search.analysis.trial_frame import downsample, is_measured
from search.policy import Policy, policy_of
from search.report.doubt import doubts
from search.report.front_charts import Marks, interval_of
from search.report.redaction import markdown
from spaces.metrics import MetricRef
from spaces.space import Space
from storage.records import Study

_MOST_FIGURES = 6  # with a slider each
_VIEW: dict[str, Callable[[Seen, bool], None]] = {
    "Charts": charts,
    "Free": free,
    "Axes": axes,
    "What matters": matters,
    "Table": rows,
}
_CLICKED = ("Charts", "Free", "Table")


def page() -> None:
    study = study_or_stop()
    st.title(f"{markdown(study.name, 60)}: front")
    st.fragment(_choose)(study.name, space_of(study))


def _choose(name: str, space: Space) -> None:
    """The answer, budgets, charts and the chosen trial: one fragment, so that a slider redraws only
    this. What was chosen lies in the address, so that new trials change none of it."""
    keep_links()
    study = same_study(name)
    trials = frame(study)
    if not is_measured(trials).any():
        more = "the front appears with the first" if study.state.is_live else "no front"
        st.info(f"No trial has been measured{' yet' * (study.state.is_live)}; {more}.")
        return
    target = choose_target(space, "target", bind=True)
    names = _columns(space, target, trials)
    trials = _on_target(trials, space, names, policy_of(study.deterministic))
    card = st.container()
    limits = choose_budgets(study, trials, names, space)
    with card:  # above the budgets, which it follows
        answer = answer_card(study, space, trials, limits_of(limits), target)
    _verdict(trials, limits, names)
    with st.container():  # there at any time: charts that move are drawn anew, and lose their zoom
        if limits:
            search_further(study, limits)
    seen = _seen(study, space, target, trials, names, limits, answer)
    _views(seen)
    remember_front()


def _views(seen: Seen) -> None:
    """A view, and the chosen trial beside it."""
    view = str(
        st.segmented_control(
            "View", list(_VIEW), default="Charts", required=True, key="view", bind="query-params"
        )
    )
    number = chosen_trial(seen.trials["number"])
    left, right = (st.container(), None) if number is None else st.columns([3, 2], gap="medium")
    with left:
        _VIEW[view](seen, number is not None)
        if number is None and view in _CLICKED:
            st.caption(
                "Click a point, or choose a row of the table (by keyboard: Shift and Space)."
            )
        st.caption(where(seen.space, seen.target))
        for line in lines_on(seen.trials, [seen.target]):
            st.caption(line)
    no_such_trial(seen.study, seen.trials)
    if right is not None and number is not None:
        with right, st.container(key="trial-panel"):
            st.button("Close", on_click=close_trial, icon=":material/close:", key="close-trial")
            show_trial(seen.study, seen.space, number, seen.trials, seen.marks.ship)


def _seen(
    study: Study,
    space: Space,
    target: str,
    trials: pd.DataFrame,
    names: list[MetricRef],
    limits: dict[str, float],
    answer: Answer | None,
) -> Seen:
    judged, policy = _judged(space, names), policy_of(study.deterministic)
    where_measured = "" if target == space.first_target else target
    trials = trials.assign(
        fits=_within(trials, limits, names), doubt=doubts(trials, where_measured)
    )
    intervals = [column for n in names for column in interval_of(n) or ()]
    points = downsample(trials, [*COLOURS, "fits", "doubt", *names, *intervals])
    inside = trials.assign(on_front=trials["on_front"] & trials["fits"])
    marks = Marks(
        teacher=_reference(study.teacher_metrics, names),
        baseline=_reference(study.baseline_metrics, names),
        limits=limits,
        knee=knee_number(inside, judged, policy),
        ship=None if answer is None else answer.number,
        chosen=[n for n in [chosen_trial(trials["number"])] if n is not None],
        boxed=st.session_state.get("boxed", []),
    )
    n_points = int(is_measured(trials).sum())
    return Seen(study, space, target, trials, points, names, marks, n_points)


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


def _judged(space: Space, names: list[MetricRef]) -> list[MetricRef]:
    """The objectives among figures, of whatever target."""
    bases = {o.name for o in space.objectives}
    return [n for n in names if n.name in bases]


def _on_target(
    trials: pd.DataFrame, space: Space, names: list[MetricRef], policy: Policy
) -> pd.DataFrame:
    """The front as seen on another target than the first, where its figures differ."""
    judged = _judged(space, names)
    if set(space.objectives) <= set(judged):
        return trials
    chances = chances_on_front(trials, judged, policy)
    return trials.assign(
        on_front=trials["number"].isin(members_of(chances)),
        front_chance=trials["number"].map(chances).astype(float),
    )


def _within(trials: pd.DataFrame, limits: Mapping[str, float], names: list[MetricRef]) -> pd.Series:
    """Which trials are within the budgets: of those that were measured here."""
    known: pd.Series = trials[names].notna().all(axis=1)
    return known & fits(trials, limits_of(limits))


def _reference(known: Mapping[str, float], names: list[MetricRef]) -> dict[str, float]:
    """Figures of a teacher or baseline; errors of another target stand in where it has none."""
    out: dict[str, float] = {}
    for name in names:
        value = known.get(name, known.get(name.name) if "wer" in name else None)
        if value is not None:
            out[name] = value
    return out


def _verdict(trials: pd.DataFrame, limits: Mapping[str, float], names: list[MetricRef]) -> None:
    """How many meet the budgets, and how many cannot be said to."""
    complete = trials[trials["state"] == "complete"]
    measured = complete.dropna(subset=names)
    inside = int(fits(measured, limits_of(limits)).sum())
    words = f"**{inside} of {len(complete)} complete trials meet these budgets**"
    if len(measured) < len(complete):
        words += f" ({len(complete) - len(measured)} were not measured here)"
    words += "; the others are grey" if limits else ""
    st.markdown(words)


page()
