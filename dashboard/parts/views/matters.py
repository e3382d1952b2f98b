"""Which axis matters, for which figure, and how sure that is."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.caching import space_of
from dashboard.context import store
from dashboard.parts.views.seen import Seen
from search.analysis.importance import FEWEST, Importance, axis_importances
from search.analysis.trial_frame import rank_correlations
from search.report.charts import bars, correlation_heatmap
from search.report.labels import metric_label
from spaces.metrics import MetricRef
from storage.records import Study

_ALL = "all families"


def matters(seen: Seen, is_narrow: bool) -> None:  # noqa: ARG001 - as every view
    """Importances with intervals, a family at a time."""
    complete = seen.trials[seen.trials["state"] == "complete"]
    counts = complete["family"].value_counts()
    among = str(
        st.selectbox(
            "Among",
            [*counts.index, _ALL],
            key="among",
            bind="query-params",
        )
    )
    st.caption("Complete trials: " + ", ".join(f"{n} of {family}" for family, n in counts.items()))
    if among != _ALL:
        complete = complete[complete["family"] == among]
    if len(complete) < FEWEST:
        st.info(
            f"{FEWEST} complete trials are needed to say what matters; here are {len(complete)}."
        )
        return
    cells = [*st.columns(3), *st.columns(3)]
    for cell, name in zip(cells, seen.names, strict=False):
        version = store().events.last_id(seen.study.id)
        found = _importances(seen.study.id, version, among, name, seen.study, complete)
        if found:
            cell.plotly_chart(
                bars(
                    {axis: i.share for axis, i in found.items()},
                    f"{metric_label(name)}: which axis matters",
                    intervals={axis: (i.low, i.high) for axis, i in found.items()},
                ),
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
        "Importances by PED-ANOVA (Watanabe et al., 2023) over the latest complete trials, with "
        "95 % bootstrap intervals: axes whose intervals overlap are not told apart. Settings of "
        "training are no axes of times and sizes, which they cannot act on."
    )


@st.cache_data(show_spinner="Which axis matters …", max_entries=64)
def _importances(
    study_id: int,  # noqa: ARG001 - by the first four it is kept
    version: int,  # noqa: ARG001
    among: str,  # noqa: ARG001
    name: MetricRef,
    _study: Study,
    _complete: pd.DataFrame,
) -> dict[str, Importance]:
    return axis_importances(space_of(_study), _complete, name)
