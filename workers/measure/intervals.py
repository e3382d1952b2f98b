"""Intervals of timed figures that hold when they are taken again at another hour.

Restarts in a row tell how much a figure varies within minutes. Between hours it moves more: the
clock of the processor, what else runs, where memory lies. Ten students measured again on a quiet
machine moved by -1.5 to +4 % in the time of the whole pipeline and by -5 to +28 % in that of their
network of some 0.3 ms, none of them flagged as unsteady. An interval therefore has both in it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

_Z95 = 1.96
_UNSTEADY = 2.0  # so many times wider where there was no quiet
_OTHER = 0.1
# Standard deviation of the logarithm of a figure from hour to hour.
_AGAIN = {
    "latency_p5_ms": 0.02,
    "latency_p50_ms": 0.02,
    "latency_p95_ms": 0.025,
    "latency_p99_ms": 0.05,
    "features_p50_ms": 0.02,
    "decode_p50_ms": 0.1,
    "rtf": 0.02,
    "throughput": 0.02,
    "graph_p50_ms": 0.12,
    "graph_p95_ms": 0.12,
    "graph_cpu_ms": 0.12,
    "anchor_ratio": 0.06,
    "peak_memory_mb": 0.02,
    "chunk_p50_ms": 0.12,
    "chunk_p95_ms": 0.12,
    "chunk_rtf": 0.12,
    "first_token_ms": 0.05,
    "emission_delay_ms": 0.05,
}
WITH_INTERVALS = frozenset(_AGAIN)


def half_width(metric: str, restarts: Sequence[float] = (), *, is_unsteady: bool = False) -> float:
    """Half of the 95 % interval of the logarithm of a figure.

    Args:
        restarts: the figure in each process; without them what hours alone make.
    """
    again = _AGAIN.get(metric, _OTHER) * (_UNSTEADY if is_unsteady else 1.0)
    logs = [math.log(value) for value in restarts if value > 0]
    within = statistics.variance(logs) / len(logs) if len(logs) > 1 else 0.0
    return _Z95 * math.sqrt(again**2 + within)


def interval(
    metric: str, value: float, restarts: Sequence[float], *, is_unsteady: bool = False
) -> tuple[float, float]:
    """95 % interval of a figure, taken again at another hour."""
    factor = math.exp(half_width(metric, restarts, is_unsteady=is_unsteady))
    return value / factor, value * factor
