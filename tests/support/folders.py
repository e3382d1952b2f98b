"""Where benchmarks find recorded speech and keep what they train."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
AN4 = ROOT.parent / "shared" / "data" / "an4"
HOME = Path(os.environ.get("BENCH_HOME", ROOT / ".search" / "bench"))
