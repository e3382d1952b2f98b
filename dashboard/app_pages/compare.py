"""Two to four trials beside each other: what differs, and whether it is real."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.caching import dev_set, frame, results, space_of
from dashboard.context import store
from dashboard.parts import address
from dashboard.parts.choice import study_or_stop
from search.analysis.answer import answer_of
from search.analysis.compare import Difference, Side, compare
from search.analysis.trial_frame import is_measured, metrics_in
from search.report.charts import scatter_by_utterance
from search.report.differences import sentence, size_sentence
from search.report.labels import format_metric, metric_name
from search.report.redaction import markdown
from spaces.front_end import FrontEnd
from spaces.metrics import MetricRef
from spaces.record import JsonObject
from spaces.space import Space
from storage.records import Study

_PICKED = "picked-to-compare"
_BY_HAND = "compared-by-hand"


def page() -> None:
    study = study_or_stop()
    st.title(f"{markdown(study.name, 60)}: compare")
    trials = frame(study)
    measured = trials[is_measured(trials)]
    if len(measured) < 2:
        st.info("Two measured trials are needed; this study has fewer.")
        return
    numbers = measured["number"].tolist()
    labels = dict(zip(measured["number"], measured["label"], strict=True))
    st.session_state[_PICKED] = _to_compare(study, measured)
    chosen = st.multiselect(
        "Trials",
        numbers,
        key=_PICKED,
        on_change=_keep,
        args=(study.id,),
        max_selections=4,
        format_func=lambda n: f"{n}: {labels[n]}",
    )
    if len(chosen) < 2:
        st.info("Choose two to four trials.")
        return
    sides = [_side(study, measured, n) for n in chosen]
    _sentences(space_of(study), sides)
    with st.expander("All differences, and how they were taken"):
        _verdicts(sides)
    _recipes(study, chosen)
    _figures(measured, chosen)
    _scatter(study, sides)


def _to_compare(study: Study, measured: pd.DataFrame) -> list[int]:
    """What was chosen; filled up with the one to ship and what it was chosen before, until somebody
    chooses here."""
    numbers = measured["number"].tolist()
    before = address.compared(numbers)
    if len(before) >= 2 or st.session_state.get(_BY_HAND) == study.id:
        return before
    answer = answer_of(measured)
    first = [] if answer is None else [answer.number]
    first += [b.number for b in (answer.fewest, answer.below) if b] if answer else []
    best = measured.sort_values("wer")["number"].tolist() if "wer" in measured else numbers
    return list(dict.fromkeys([*before, *first, *best]))[:2]


def _keep(study_id: int) -> None:
    address.compare(st.session_state[_PICKED])
    st.session_state[_BY_HAND] = study_id


def _sentences(space: Space, sides: list[Side]) -> None:
    """What differs for sure, objectives first."""
    first, *others = sides
    order = [o.name for o in space.objectives]
    for other in others:
        found = compare(first, other)
        found.sort(key=lambda d: order.index(d.metric) if d.metric in order else len(order))
        said = [sentence(d, first.name, other.name) for d in found]
        size = size_sentence(first, other)
        said.insert(1 if found and found[0].metric == "wer" else 0, size or "")
        st.markdown("\n".join(f"- {line}" for line in said if line))
    unsteady = [side.name for side in sides if _is_unsteady(side)]
    if unsteady:
        st.warning(f"Not measured in quiet: {', '.join(unsteady)}. `search measure --unsteady`.")


def _is_unsteady(side: Side) -> bool:
    found = [side.results.measure(target) for target in side.results.measured]
    return any(m is not None and m.unsteady for m in found)


def _recipes(study: Study, chosen: list[int]) -> None:
    flat = {f"trial {n}": _flat(store().trials.get(study.id, n).recipe) for n in chosen}
    table = pd.DataFrame(flat).astype(str)
    differs = table[table.nunique(axis=1) > 1]
    st.subheader("Recipes")
    if differs.empty:
        st.caption("They are of the same recipe.")
    else:
        st.dataframe(differs, alt="Parts of the recipes that differ")


def _flat(recipe: JsonObject) -> dict[str, object]:
    """Sections and their keys as one dotted name; what is not a section by its own."""
    flat: dict[str, object] = {}
    for part, values in recipe.items():
        if isinstance(values, dict):
            flat |= {f"{part}.{key}": value for key, value in values.items()}
        else:
            flat[part] = values
    return flat


def _figures(measured: pd.DataFrame, chosen: list[int]) -> None:
    rows = measured.set_index("number").loc[chosen]
    known = [m for m in metrics_in(measured) if rows[m].notna().any()]
    names = [m for m in known if m.target or not m.known.per_target]
    table = pd.DataFrame(
        {f"trial {n}": [format_metric(m, rows.loc[n, m]) for m in names] for n in chosen},
        index=[metric_name(m) for m in names],
    )
    st.subheader("Figures")
    st.dataframe(table, height=300, alt="Figures of the chosen trials")


def _side(study: Study, measured: pd.DataFrame, number: int) -> Side:
    row = measured.loc[measured["number"] == number].iloc[0]
    metrics = {str(m): float(row[m]) for m in metrics_in(measured) if pd.notna(row[m])}
    heard = FrontEnd.of_recipe(store().trials.get(study.id, number).recipe)
    return Side(f"trial {number}", metrics, results(study, number), heard)


def _verdicts(sides: list[Side]) -> None:
    first, *others = sides
    rows = []
    for other in others:
        for d in compare(first, other):
            rows.append(
                {
                    "of": f"{other.name} against {first.name}",
                    "figure": metric_name(MetricRef(d.metric, d.target)),
                    "difference": _signed(d, d.difference),
                    "95 % interval": f"{_signed(d, d.low)} to {_signed(d, d.high)}",
                    "real?": "yes" if d.is_real else "cannot be told",
                    "how": d.how,
                }
            )
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Differences with their intervals")
    else:
        st.caption("Nothing was measured of both in the same way.")


def _signed(d: Difference, value: float) -> str:
    return f"{value:+.1%}" if d.relative else f"{value * 100:+.2f} points"


def _scatter(study: Study, sides: list[Side]) -> None:
    label = space_of(study).runtimes()[0].label
    scores = {s.name: s.results.score(label) for s in sides}
    errors = {name: score.errors for name, score in scores.items() if score and score.errors}
    if len(errors) < 2:
        return
    (first, mine), *others = errors.items()
    dev = dev_set(study)
    texts = [u.text for u in dev] if len(dev) == len(mine) else [""] * len(mine)
    st.subheader("Utterance by utterance")
    for cell, (other, theirs) in zip(st.columns(len(others)), others, strict=True):
        cell.plotly_chart(
            scatter_by_utterance(mine, theirs, texts, (first, other)),
            key=f"by-utterance-{other}",
            alt=f"Word errors of {first} and {other} for every utterance; equal points are larger",
        )


page()
