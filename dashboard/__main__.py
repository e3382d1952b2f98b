"""`python -m dashboard` serves the pages; what they need is loaded before anybody waits for it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from streamlit.web.cli import main

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

for name in _NEEDED:
    importlib.import_module(name)
sys.argv[1:1] = ["run", str(Path(__file__).with_name("app.py"))]
main()
