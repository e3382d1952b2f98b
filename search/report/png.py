"""Charts as a picture without a browser: Plotly's figures drawn by Matplotlib.

Only what the charts of the front have: markers, lines, a few names, logarithmic axes. Plotly's own
way to a PNG starts a browser, which a server or CI need not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_SYMBOLS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "cross": "P",
    "x": "X",
    "pentagon": "p",
    "star": "*",
}
_WIDTH_IN, _HEIGHT_IN, _DPI = 6.0, 4.5, 120


def write_png(path: Path, figures: Sequence[go.Figure], title: str) -> None:
    """Draw charts beside each other."""
    page = Figure(figsize=(_WIDTH_IN * len(figures), _HEIGHT_IN), layout="constrained")
    for axes, figure in zip(page.subplots(1, len(figures), squeeze=False)[0], figures, strict=True):
        for trace in figure.data:
            _draw(axes, trace)
        _set_axes(axes, figure)
    if page.axes[0].get_legend_handles_labels()[0]:
        page.axes[0].legend(fontsize="small")
    page.suptitle(title)
    page.savefig(str(path), dpi=_DPI)


def _draw(axes: Axes, trace: go.Scatter) -> None:
    x, y = np.asarray(trace.x, float), np.asarray(trace.y, float)
    if "lines" in trace.mode:
        axes.step(x, y, where="post", color=trace.line.color, linestyle=":", linewidth=1)
    if "markers" in trace.mode:
        marker = trace.marker
        symbol = str(marker.symbol)
        colour = marker.color or "#555555"
        axes.scatter(
            x,
            y,
            s=float(marker.size) ** 2,
            marker=_SYMBOLS.get(symbol.removesuffix("-open"), "o"),
            alpha=marker.opacity,
            facecolors="none" if symbol.endswith("-open") else colour,
            edgecolors=colour,
            label=trace.name if trace.showlegend else None,
        )
    if "text" in trace.mode:
        for at_x, at_y, text in zip(x, y, trace.text, strict=True):
            axes.annotate(text, (at_x, at_y), (0, 8), textcoords="offset points", ha="center")


def _set_axes(axes: Axes, figure: go.Figure) -> None:
    axes.set_xscale(figure.layout.xaxis.type or "linear")
    axes.set_yscale(figure.layout.yaxis.type or "linear")
    axes.set_xlabel(figure.layout.xaxis.title.text)
    axes.set_ylabel(figure.layout.yaxis.title.text)
    axes.grid(alpha=0.3)
