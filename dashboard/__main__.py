"""`python -m dashboard` serves the pages; what they need is loaded before anybody waits for it."""

from __future__ import annotations

import importlib
import sys

from dashboard.serve import options_of, serve

_NEEDED = (
    "alembic.context",
    "dashboard.parts.control",
    "dashboard.parts.trial",
    "plotly.graph_objs._figure",
    "plotly.graph_objs._scatter",
    "plotly.tools",
    "search.analysis.compare",
    "streamlit.elements.plotly_chart",
)

options = options_of(sys.argv[1:])  # refuses before anything is loaded
for name in _NEEDED:
    importlib.import_module(name)
serve(options)
