"""The front as a chart: interactive HTML by Plotly, PNG by Matplotlib (no browser needed)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from search.tables import shown, unit_of
from spaces.recipe import Recipe
from spaces.space import Space
from storage.records import Study, Trial, TrialState

# Okabe and Ito's palette, told apart with any colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_SHOWN = (TrialState.COMPLETE, TrialState.INFEASIBLE)


def _pairs(space: Space) -> list[tuple[str, str]]:
    """(cost, error): the first objective over each of the others."""
    first, *others = space.objectives
    return [(other, first) for other in others] or [("size_mb", first)]


def _scaled(metric: str, value: float) -> float:
    return value * 100 if metric in ("wer", "cer") else value


def _label(metric: str) -> str:
    unit = "%" if metric in ("wer", "cer") else unit_of(metric)
    return f"{metric} ({unit})" if unit else metric


def _scale(metric: str, trials: Sequence[Trial], teacher: Mapping[str, float]) -> str:
    """Logarithmic where the values go over more than a third of a decade."""
    values = [t.metrics[metric] for t in trials]
    if metric in teacher:
        values.append(teacher[metric])
    is_wide = bool(values) and min(values) > 0 and max(values) > 2 * min(values)
    return "log" if is_wide else "linear"


def _families(trials: Sequence[Trial]) -> list[str]:
    return sorted({str(t.values["family"]) for t in trials})


def write_html(
    path: Path, study: Study, space: Space, trials: Sequence[Trial], on_front: Sequence[Trial]
) -> None:
    """One self-contained page."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    pairs = _pairs(space)
    figure = make_subplots(rows=1, cols=len(pairs))
    best = {t.number for t in on_front}
    measured = [t for t in trials if t.state in _SHOWN]
    for column, (x, y) in enumerate(pairs, 1):
        for i, family in enumerate(_families(measured)):
            of_family = [t for t in measured if t.values["family"] == family]
            figure.add_trace(
                go.Scatter(
                    x=[_scaled(x, t.metrics[x]) for t in of_family],
                    y=[_scaled(y, t.metrics[y]) for t in of_family],
                    mode="markers",
                    name=family,
                    legendgroup=family,
                    showlegend=column == 1,
                    marker={
                        "color": _COLOURS[i % len(_COLOURS)],
                        "size": [12 if t.number in best else 7 for t in of_family],
                        "opacity": [1.0 if t.number in best else 0.35 for t in of_family],
                    },
                    text=[_hover(t) for t in of_family],
                    hoverinfo="text",
                ),
                row=1,
                col=column,
            )
        teacher = study.facts.get("teacher", {})
        if x in teacher and y in teacher:
            figure.add_trace(
                go.Scatter(
                    x=[_scaled(x, teacher[x])],
                    y=[_scaled(y, teacher[y])],
                    mode="markers+text",
                    text=["teacher"],
                    textposition="top center",
                    marker={"symbol": "star", "size": 14, "color": "#555555"},
                    showlegend=False,
                ),
                row=1,
                col=column,
            )
        scale = _scale(x, measured, teacher)
        figure.update_xaxes(title_text=_label(x), type=scale, row=1, col=column)
        figure.update_yaxes(title_text=_label(y), row=1, col=column)
    figure.update_layout(title=f"{study.name}: front (large) and other trials", height=560)
    figure.write_html(str(path), include_plotlyjs=True, config={"showSendToCloud": False})


def _hover(trial: Trial) -> str:
    figures = [
        f"{m} {shown(m, trial.metrics.get(m))}" for m in ("wer", "latency_p95_ms", "size_mb")
    ]
    return f"trial {trial.number}: {Recipe.model_validate(trial.recipe).label()}<br>" + "<br>".join(
        figures
    )


def write_png(
    path: Path, study: Study, space: Space, trials: Sequence[Trial], on_front: Sequence[Trial]
) -> None:
    """The same as a picture."""
    from matplotlib.figure import Figure

    pairs = _pairs(space)
    figure = Figure(figsize=(6 * len(pairs), 4.5), layout="constrained")
    best = {t.number for t in on_front}
    measured = [t for t in trials if t.state in _SHOWN]
    for axes, (x, y) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        for i, family in enumerate(_families(measured)):
            for is_best, size, alpha in ((False, 24, 0.35), (True, 60, 1.0)):
                chosen = [
                    t
                    for t in measured
                    if t.values["family"] == family and (t.number in best) == is_best
                ]
                axes.scatter(
                    [_scaled(x, t.metrics[x]) for t in chosen],
                    [_scaled(y, t.metrics[y]) for t in chosen],
                    s=size,
                    alpha=alpha,
                    color=_COLOURS[i % len(_COLOURS)],
                    label=family if is_best else None,
                )
        teacher = study.facts.get("teacher", {})
        if x in teacher and y in teacher:
            point = (_scaled(x, teacher[x]), _scaled(y, teacher[y]))
            axes.scatter(*point, marker="*", s=140, color="#555555", label="teacher")
        axes.set_xscale(_scale(x, measured, teacher))
        axes.set_xlabel(_label(x))
        axes.set_ylabel(_label(y))
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.suptitle(f"{study.name}: front (large) and other trials")
    figure.savefig(str(path), dpi=120)
