"""A study as a frame, a row a trial: what tables, charts and exports are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from search.analysis.front import chances_on_front, members_of
from search.policy import policy_of
from spaces.families import is_trained
from spaces.metrics import MetricRef
from spaces.recipe import PARTS
from spaces.space import Space
from storage.records import MEASURED, Study, Trial, TrialRow
from storage.store import Store

ERROR_GROUPS = "error_groups"  # for comparisons in pairs, not to be shown
AXIS = "axis."  # before the name of an axis


def study_frame(store: Store, study: Study, space: Space) -> pd.DataFrame:
    """Every trial of a study."""
    return trial_frame(store.trials.rows(study.id), study, space)


def trial_frame(
    trials: Sequence[Trial] | Sequence[TrialRow], study: Study, space: Space
) -> pd.DataFrame:
    """Trials by number: state, axes as `axis.…`, metrics by name, how likely it is that nothing
    beats them (`front_chance`) and whether they are shown as the front (`on_front`)."""
    base = pd.DataFrame(
        {
            "number": [t.number for t in trials],
            "state": [str(t.state) for t in trials],
            "source": [t.source for t in trials],
            "label": [t.label for t in trials],
            "family": [str(t.values.get("family", "")) for t in trials],
            "bits": [_bits(t) for t in trials],
            "pruned": [f"{float(t.values.get('prune.ratio', 0)):.0%}" for t in trials],
            "created_at": [t.created_at for t in trials],
            "finished_at": [t.finished_at for t in trials],
            "compute_s": [t.compute_s for t in trials],
            "reason": [t.reason for t in trials],
            ERROR_GROUPS: pd.Series([t.error_groups for t in trials], dtype=object),
        }
    )
    axes = pd.DataFrame([dict(t.values) for t in trials]).add_prefix(AXIS)
    metrics = pd.DataFrame([dict(t.metrics) for t in trials])
    frame = pd.concat([base, axes, metrics.astype(float)], axis=1)
    chances = chances_on_front(frame, space.objectives, policy_of(study.deterministic))
    return frame.assign(
        on_front=frame["number"].isin(members_of(chances)),
        front_chance=frame["number"].map(chances).astype(float),
    )


def _bits(trial: Trial | TrialRow) -> str:
    scheme = str(trial.values.get("quantize.scheme", "fp32"))
    parts = {str(trial.values.get(f"quantize.{part}", scheme)) for part in PARTS}
    return parts.pop() if len(parts) == 1 else "mixed"


def is_measured(frame: pd.DataFrame) -> pd.Series:
    """Which trials have every figure that decides: they can be shown and exported."""
    return frame["state"].isin([str(s) for s in MEASURED])


def downsample(frame: pd.DataFrame, columns: Sequence[str], most: int = 400) -> pd.DataFrame:
    """What a chart carries: the whole front and an even sample of the rest of what was measured."""
    wanted = [c for c in dict.fromkeys(("number", "label", "on_front", *columns)) if c in frame]
    shown = frame.loc[is_measured(frame), wanted]
    rest = shown[~shown["on_front"]]
    if len(rest) > most:
        places = np.linspace(0, len(rest) - 1, most).round().astype(int)
        rest = rest.iloc[places]
    return pd.concat([shown[shown["on_front"]], rest])


def metrics_in(frame: pd.DataFrame) -> list[MetricRef]:
    """The columns that are figures of known metrics and hold something."""
    metrics = [MetricRef.of(str(c)) for c in frame.columns]
    return [m for m in metrics if m.is_known and frame[m].notna().any()]


def axes_in(frame: pd.DataFrame) -> list[str]:
    """Axes of which at least two values were tried."""
    axes = [str(c) for c in frame.columns if str(c).startswith(AXIS)]
    return [a for a in axes if frame[a].dropna().nunique() > 1]


def common_axes(frame: pd.DataFrame) -> pd.DataFrame:
    """Axes that every trained trial has and that vary; equal ones of several families become one.
    The teacher's own graph, of which nothing is trained, has hardly any: it takes none away."""
    families = set(frame["family"])
    found: dict[str, pd.Series] = {}
    for column in [str(c) for c in frame.columns if str(c).startswith(AXIS)]:
        section, _, name = column.removeprefix(AXIS).partition(".")
        title = (name if section in families else f"{section} {name}").replace("_", " ").strip()
        values = frame[column]
        found[title] = found[title].combine_first(values) if title in found else values
    trained = frame["family"].map(is_trained).astype(bool)
    told = trained if trained.any() else ~trained
    kept = {n: v for n, v in found.items() if v[told].notna().all() and v[told].nunique() > 1}
    return pd.DataFrame(kept, index=frame.index)


def rank_correlations(frame: pd.DataFrame, objectives: Sequence[MetricRef]) -> pd.DataFrame:
    """Spearman's rank correlation of every numeric axis with every objective, where at least five
    trials tell it."""
    out = {}
    for axis in axes_in(frame):
        values = pd.to_numeric(frame[axis], errors="coerce")
        if values.notna().sum() < 5 or values.nunique() < 2:
            continue
        ranks = values.rank()
        out[axis.removeprefix(AXIS)] = [
            ranks.corr(frame[o].where(values.notna()).rank()) if o in frame else np.nan
            for o in objectives
        ]
    return pd.DataFrame.from_dict(out, orient="index", columns=list(objectives)).dropna(how="all")
