"""One page that says everything of a study, without a server and without a network."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from search.figures import label, name_of, over_time, parallel_coordinates
from search.frames import (
    axes_in,
    best_number,
    common_axes,
    frame_of,
    hypervolumes,
    knee_number,
    metrics_in,
    reference_in,
    thinned,
)
from search.front_charts import Marks, front_chart
from search.tables import shown
from spaces.space import Space
from storage.records import Study
from storage.store import Store

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; }
body { padding: 0 1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 1rem; }
.charts > div { min-width: 0; }
.charts > div:last-child { grid-column: 1 / -1; overflow-x: auto; }
.charts > div:last-child > div { min-width: 800px; }
.parcoords text { text-shadow: none !important; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #8888; text-align: right; }
th, td { white-space: nowrap; }
th:nth-child(2), td:nth-child(2) { text-align: left; }
tr.knee td { font-weight: 600; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid #8888; border-radius: 4px; }
summary { cursor: pointer; padding: .3rem 0; }
"""
# Charts are drawn while the page is read, when their boxes are not yet as wide as they will be.
_FIT = "addEventListener('load', () => dispatchEvent(new Event('resize')))"
# Charts that are read on a light page as on a dark one.
_CLEAR, _GRID = "rgba(0,0,0,0)", {"gridcolor": "rgba(128,128,128,0.3)", "zeroline": False}
_ON_BOTH = {
    "paper_bgcolor": _CLEAR,
    "plot_bgcolor": _CLEAR,
    "font": {"color": "#808080"},
    "xaxis": _GRID,
    "yaxis": _GRID,
}


def write_report(path: Path, store: Store, study: Study, space: Space) -> None:
    """Write the page: front, tables, recipes, all figures with their units.

    Everything that people or files named is escaped; no path of this machine is in it.
    """
    frame = frame_of(store, study, space)
    recipes = {
        int(n): dict(store.trial(study.id, int(n)).recipe)
        for n in frame["number"][frame["on_front"]]
    }
    path.write_text(_page(study, space, frame, recipes), encoding="utf-8")


def _page(
    study: Study, space: Space, frame: pd.DataFrame, recipes: Mapping[int, Mapping[str, object]]
) -> str:
    title = html.escape(f"{study.name}: compression search")
    parts = [_head(study, space, frame)]
    if frame["on_front"].any():
        parts += [_charts(study, space, frame), _front_table(study, space, frame)]
        parts.append(_recipes(frame, recipes))
    parts.append(_all(frame))
    from plotly.offline import get_plotlyjs

    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><main>{''.join(parts)}</main><script>{_FIT}</script></body></html>\n"
    )


def _head(study: Study, space: Space, frame: pd.DataFrame) -> str:
    counts = ", ".join(
        f"{n} {html.escape(s.replace('_', ' '))}" for s, n in frame["state"].value_counts().items()
    )
    teacher = study.facts.get("teacher", {})
    said = ", ".join(
        f"{name_of(m)} {shown(m, teacher[m])}" for m in space.objectives if m in teacher
    )
    targets = "; ".join(
        f"{html.escape(n)}: {html.escape(t.backend)}, {t.threads} thread(s)"
        for n, t in space.targets.items()
    )
    budgets = ", ".join(map(str, space.budget_list())) or "none"
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(study.created_at))
    return (
        f"<h1>{html.escape(study.name)}</h1><p>{html.escape(space.description)}</p>"
        f"<p>Begun {day}; {study.state}; {len(frame)} trials ({counts or 'none'}).</p>"
        f"<p>Targets: {targets}. Budgets: {html.escape(budgets)}. Teacher: "
        f"{said or 'not measured'}.</p>"
        "<p>Every figure was measured on the exported file. WER is of the dev set, which chose "
        "these students, so it flatters them.</p>"
    )


def _charts(study: Study, space: Space, frame: pd.DataFrame) -> str:
    names = [o for o in space.objectives if o in frame]
    teacher = study.facts.get("teacher", {})
    baseline = study.facts.get("baseline", {})
    marks = Marks(
        {n: float(teacher[n]) for n in names if n in teacher},
        {},
        knee_number(frame, names, study.deterministic),
        best_number(frame, names[0], {}),
        baseline={n: float(baseline[n]) for n in names if n in baseline},
    )
    points = thinned(frame, frame.columns).assign(fits=True)
    figures = [front_chart(points, x, names[0], "family", marks, names) for x in names[1:3]]
    if len(names) >= 3:
        figures.append(front_chart(points, names[1], names[2], "family", marks, names))
    grown = hypervolumes(frame, names, reference_in(frame, names, teacher))
    line = (list(grown["trials"]), list(grown["hypervolume"]))
    figures.append(over_time({"hypervolume": line}, "complete trials", "hypervolume"))
    some = points[points["on_front"]]
    if len(some) > 2:
        axes = common_axes(some)
        columns = [*list(axes)[: 12 - len(names)], *names]
        figures.append(parallel_coordinates(axes.join(some[names]), columns, names[0]))
    drawn = [
        f.update_layout(_ON_BOTH).to_html(
            full_html=False,
            include_plotlyjs=False,
            config={"responsive": True, "showSendToCloud": False},
        )
        for f in figures
    ]
    boxes = "".join(f'<div tabindex="0">{d}</div>' for d in drawn)
    return f"<h2>Front</h2><div class=charts>{boxes}</div>"


def _front_table(study: Study, space: Space, frame: pd.DataFrame) -> str:
    best = frame[frame["on_front"]]
    names = [m for m in metrics_in(best) if "@" not in m or m in space.objectives]
    first = [o for o in space.objectives if o in names]
    names = first + [n for n in names if n not in first]
    bend = knee_number(frame, first, study.deterministic)
    head = "".join(f"<th>{html.escape(label(n))}</th>" for n in names)
    rows = []
    for row in best.sort_values(first[0]).to_dict("records"):
        cells = "".join(f"<td>{html.escape(shown(n, row[n]))}</td>" for n in names)
        mark = ' class="knee"' if row["number"] == bend else ""
        name = html.escape(row["label"]) + (" ◆" if mark else "")
        rows.append(f"<tr{mark}><td>{row['number']}</td><td>{name}</td>{cells}</tr>")
    teacher = study.facts.get("teacher", {})
    cells = "".join(f"<td>{html.escape(shown(n, teacher.get(n)))}</td>" for n in names)
    rows.append(f"<tr><td></td><td>teacher</td>{cells}</tr>")
    return (
        f'<div class=wide tabindex="0"><table><thead><tr><th>trial</th><th>student</th>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div><p>◆ knee of the front</p>"
    )


def _recipes(frame: pd.DataFrame, recipes: Mapping[int, Mapping[str, object]]) -> str:
    out = []
    for number, recipe in recipes.items():
        name = frame.loc[frame["number"] == number, "label"].iloc[0]
        text = html.escape(json.dumps(recipe, indent=1))
        out.append(
            f"<details><summary>trial {number}: {html.escape(name)}</summary><pre>{text}</pre>"
            "</details>"
        )
    return f"<h2>Recipes of the front</h2>{''.join(out)}"


def _all(frame: pd.DataFrame) -> str:
    """Every trial as CSV, to copy."""
    columns = ["number", "state", "label", *axes_in(frame), *metrics_in(frame)]
    text = html.escape(frame[[c for c in columns if c in frame]].to_csv(index=False))
    return (
        "<h2>All trials</h2><details><summary>as CSV</summary>"
        f'<pre tabindex="0">{text}</pre></details>'
    )
