"""A chart of the front: a click opens a trial, a box keeps several.

Streamlit's own Plotly chart becomes another element whenever its figure changes: a click on the
old one is lost then, and so is what was zoomed into. This one stays and takes the new figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st
from streamlit.components.v1 import declare_component

_HERE = Path(__file__).parent


@st.cache_resource(show_spinner=False)
def _library() -> str:
    """Where the server gives Plotly's own JavaScript, as it came with the package."""
    folder = Path(plotly.__file__).parent / "package_data"
    served = declare_component("plotly", path=folder)
    return f"component/{served.name}/plotly.min.js?{plotly.__version__}"


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component(
        "front_chart",
        html='<div class="front-chart" role="figure"></div>',
        css=_HERE.joinpath("points.css").read_text(),
        js=_HERE.joinpath("points.js").read_text(),
        isolate_styles=False,  # Plotly's own styles are the page's
    )


def points_chart(
    figure: go.Figure,
    key: str,
    alt: str,
    picked: Callable[[int], None],
    boxed: Callable[[Sequence[float]], None] | None = None,
) -> None:
    """Draw a figure whose points carry their trial's number as `ids`.

    Args:
        key: the chart's own; it stays the same chart while this does.
        alt: what it shows, for those who do not see it.
        picked: called with the trial of a clicked point.
        boxed: called with the edges of a box (left, right, bottom, top) as the axes say them; with
            none when it is dropped. Trials that were downsample out may lie inside as well.
    """

    def on_picked() -> None:
        for number in st.session_state[key].picked or ():
            picked(int(number))

    def on_boxed() -> None:
        if boxed is not None:
            boxed([float(edge) for edge in st.session_state[key].boxed or ()])

    _component()(
        key=key,
        data={"figure": figure.to_json(), "alt": alt, "library": _library()},
        on_picked_change=on_picked,
        on_boxed_change=on_boxed,
    )
