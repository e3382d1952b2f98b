"""A study as a frame, a row a trial: what pages, reports and exports of numbers are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import moocore
import numpy as np
import pandas as pd

from search.budgets import judged_as
from search.words import without_places
from spaces.metrics import METRICS, metric_named
from spaces.recipe import PARTS
from spaces.space import Space
from storage.records import Study, TrialState
from storage.store import Store

SHOWN = (TrialState.COMPLETE, TrialState.INFEASIBLE)


def frame_of(store: Store, study: Study, space: Space) -> pd.DataFrame:
    """Every trial by number: state, axes as `axis.…`, metrics by name, and whether nothing beats
    it (`on_front`)."""
    rows = store.trial_rows(study.id)
    base = pd.DataFrame(
        {
            "number": [r["number"] for r in rows],
            "state": [str(r["state"]) for r in rows],
            "source": [r["source"] for r in rows],
            "label": [label_of(r["values"]) for r in rows],
            "family": [str(r["values"].get("family", "")) for r in rows],
            "bits": [_bits(r["values"]) for r in rows],
            "pruned": [f"{float(r['values'].get('prune.ratio', 0)):.0%}" for r in rows],
            "created_at": [r["created_at"] for r in rows],
            "finished_at": [r["finished_at"] for r in rows],
            "compute_s": [r["compute_s"] for r in rows],
            "reason": [r["reason"] for r in rows],
        }
    )
    axes = pd.DataFrame([r["values"] for r in rows]).add_prefix("axis.")
    metrics = pd.DataFrame([r["metrics"] for r in rows])
    frame = pd.concat([base, axes, metrics.astype(float)], axis=1)
    frame["on_front"] = False
    numbers = front_numbers(frame, space.objectives, study.deterministic)
    frame.loc[frame["number"].isin(numbers), "on_front"] = True
    return frame


def label_of(values: Mapping[str, Any]) -> str:
    """A few words for a trial, from its axis values."""
    family = str(values.get("family", "?"))
    channels = values.get(f"{family}.channels", "")
    ratio = float(values.get("prune.ratio", 0))
    prune = f" -{ratio:.0%}" if ratio else ""
    return f"{family} {channels}{prune} {_bits(values)}"


def _bits(values: Mapping[str, Any]) -> str:
    scheme = str(values.get("quantize.scheme", "fp32"))
    parts = {str(values.get(f"quantize.{part}", scheme)) for part in PARTS}
    return parts.pop() if len(parts) == 1 else "mixed"


def front_numbers(
    frame: pd.DataFrame, objectives: Sequence[str], deterministic: bool = False
) -> list[int]:
    """Numbers of the complete trials that nothing beats in these objectives."""
    names = [judged_as(o, deterministic) for o in objectives]
    if frame.empty or any(n not in frame for n in names):
        return []
    known = frame.loc[frame["state"] == TrialState.COMPLETE, ["number", *names]].dropna()
    if known.empty:
        return []
    best = moocore.is_nondominated(_signed(known, names))
    return [int(n) for n in known["number"][best]]


def _signed(frame: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    signs = [-1.0 if metric_named(n).higher_is_better else 1.0 for n in names]
    return frame[list(names)].to_numpy(float) * signs


def knee_number(
    frame: pd.DataFrame, objectives: Sequence[str], deterministic: bool = False
) -> int | None:
    """Of the front, the one nearest to the best of each objective at once; None for fewer than
    three, which have no bend."""
    names = [judged_as(o, deterministic) for o in objectives]
    if any(n not in frame for n in names):
        return None
    best = frame.loc[frame["on_front"], ["number", *dict.fromkeys(names)]].dropna()
    if len(best) < 3:
        return None
    points = _signed(best, names)
    span = np.maximum(np.ptp(points, axis=0), 1e-12)
    distance = np.linalg.norm((points - points.min(0)) / span, axis=1)
    return int(best["number"].iloc[int(distance.argmin())])


def fits(frame: pd.DataFrame, limits: Mapping[str, float]) -> pd.Series:
    """Which trials are within limits; one that has no such figure is not."""
    inside = pd.Series(True, index=frame.index)
    for metric, limit in limits.items():
        if metric not in frame:
            inside &= False
        elif metric_named(metric).higher_is_better:
            inside &= frame[metric] >= limit
        else:
            inside &= frame[metric] <= limit
    return inside


def best_number(frame: pd.DataFrame, metric: str, limits: Mapping[str, float]) -> int | None:
    """The complete trial best in a metric among those within limits."""
    if metric not in frame:
        return None
    inside = (frame["state"] == TrialState.COMPLETE) & fits(frame, limits)
    known = frame.loc[inside, metric].dropna()
    if known.empty:
        return None
    place = known.idxmax() if metric_named(metric).higher_is_better else known.idxmin()
    return int(frame.loc[place, "number"])


def thinned(frame: pd.DataFrame, columns: Sequence[str], most: int = 400) -> pd.DataFrame:
    """What a chart carries: the whole front and an even sample of the rest of what was measured."""
    wanted = [c for c in dict.fromkeys(("number", "label", "on_front", *columns)) if c in frame]
    shown = frame.loc[frame["state"].isin([str(s) for s in SHOWN]), wanted]
    rest = shown[~shown["on_front"]]
    if len(rest) > most:
        places = np.linspace(0, len(rest) - 1, most).round().astype(int)
        rest = rest.iloc[places]
    return pd.concat([shown[shown["on_front"]], rest])


def metrics_in(frame: pd.DataFrame) -> list[str]:
    """The columns that are figures of known metrics and hold something."""
    return [
        str(c)
        for c in frame.columns
        if str(c).partition("@")[0] in METRICS and frame[c].notna().any()
    ]


def axes_in(frame: pd.DataFrame) -> list[str]:
    """Axes of which at least two values were tried."""
    axes = [str(c) for c in frame.columns if str(c).startswith("axis.")]
    return [a for a in axes if frame[a].dropna().nunique() > 1]


def common_axes(frame: pd.DataFrame) -> pd.DataFrame:
    """Axes that every trial has and that vary; equal ones of several families become one."""
    families = set(frame["family"])
    found: dict[str, pd.Series] = {}
    for column in [str(c) for c in frame.columns if str(c).startswith("axis.")]:
        section, _, name = column.removeprefix("axis.").partition(".")
        said = (name if section in families else f"{section} {name}").replace("_", " ").strip()
        values = frame[column]
        found[said] = found[said].combine_first(values) if said in found else values
    kept = {n: v for n, v in found.items() if v.notna().all() and v.nunique() > 1}
    return pd.DataFrame(kept, index=frame.index)


def moves(frame: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """Spearman's rank correlation of every numeric axis with every objective, where at least five
    trials say so."""
    out = {}
    for axis in axes_in(frame):
        values = pd.to_numeric(frame[axis], errors="coerce")
        if values.notna().sum() < 5 or values.nunique() < 2:
            continue
        ranks = values.rank()
        out[axis.removeprefix("axis.")] = [
            ranks.corr(frame[o].where(values.notna()).rank()) if o in frame else np.nan
            for o in objectives
        ]
    return pd.DataFrame.from_dict(out, orient="index", columns=list(objectives)).dropna(how="all")


def reference_in(
    frame: pd.DataFrame, objectives: Sequence[str], teacher: Mapping[str, float]
) -> dict[str, float]:
    """Where the hypervolume is seen from, as `search.front.reference_of` says it."""
    out = {}
    for objective in objectives:
        metric = metric_named(objective)
        known = frame[objective].dropna() if objective in frame else pd.Series(dtype=float)
        worst = (known.min() if metric.higher_is_better else known.max()) if len(known) else 1.0
        is_errors = metric.name in ("wer", "cer")
        out[objective] = 1.0 if is_errors else float(teacher.get(objective, worst))
    return out


def hypervolumes(
    frame: pd.DataFrame, objectives: Sequence[str], reference: Mapping[str, float], most: int = 60
) -> pd.DataFrame:
    """How the front grew: complete `trials`, when the last of them was `finished_at` (seconds since
    the epoch), and the `hypervolume`: the share of the box to the reference that they dominate.
    """
    known = frame[frame["state"] == TrialState.COMPLETE].dropna(subset=list(objectives))
    known = known.sort_values("finished_at")
    shares = np.column_stack([_share(o, known[o], reference[o]) for o in objectives])
    count = len(known)
    places = np.unique(np.linspace(min(1, count), count, min(most, count)).round().astype(int))
    ones, values = np.ones(len(objectives)), []
    for n in places:
        inside = shares[:n][(shares[:n] < 1).all(axis=1)]
        if len(inside):
            inside = inside[moocore.is_nondominated(inside)]
        values.append(float(moocore.hypervolume(inside, ref=ones)) if len(inside) else 0.0)
    ends = known["finished_at"].to_numpy(float)[places - 1]
    return pd.DataFrame({"trials": places, "finished_at": ends, "hypervolume": values})


def _share(objective: str, values: pd.Series, reference: float) -> np.ndarray:
    """As `search.front.hypervolume` scales an objective."""
    array, reference = values.to_numpy(float), max(reference, 1e-12)
    if metric_named(objective).higher_is_better:
        array, reference = 1 / np.maximum(array, 1e-12), 1 / reference
    if metric_named(objective).name in ("wer", "cer"):
        return array / reference
    return np.clip(np.log10(np.maximum(array, 1e-12) / (reference / 1000)) / 3, 0.0, None)


def as_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV to share: without the places of this machine, and with nothing that a
    spreadsheet would take for a formula."""
    return _shared(frame).map(_no_formula).to_csv(index=False)


def _shared(frame: pd.DataFrame) -> pd.DataFrame:
    reasons = frame["reason"].map(without_places, na_action="ignore")
    return frame.assign(reason=reasons.astype(object))


def _no_formula(value: Any) -> Any:
    """As OWASP advises against CSV injection: what begins like a formula gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def as_parquet(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet to share, without the places of this machine; columns of mixed kinds
    become text.

    Raises:
        MissingExtra: when pyarrow is not installed.
    """
    import importlib.util
    import io

    from workers.errors import MissingExtra

    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra("Parquet", "dashboard")
    buffer, frame = io.BytesIO(), _shared(frame)
    mixed = [c for c in frame.columns if pd.api.types.infer_dtype(frame[c]).startswith("mixed")]
    frame.astype(dict.fromkeys(mixed, str)).to_parquet(buffer, index=False)
    return buffer.getvalue()
