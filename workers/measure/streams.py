"""How many people one copy of a model can listen to at once."""

from __future__ import annotations

import numpy as np

_ARRIVALS = 16_000
_MOST = 100_000


def concurrent_streams(service_ms: np.ndarray, audio_s: np.ndarray, limit_p99_ms: float) -> int:
    """Real-time streams that one copy serves with 99 % of the answers within a limit.

    Each stream speaks without a pause, one utterance after another; an utterance is served when
    it has ended, in order of arrival, by one copy. Service times are the measured ones; only the
    waiting is computed (Lindley, 1952).

    Args:
        service_ms: float [n], measured whole-pipeline times.
        audio_s: float [n], the length of the utterance of each.
    """
    if float(np.percentile(service_ms, 99)) > limit_p99_ms:
        return 0
    low, high = 0, 1
    while high < _MOST and _p99_ms(service_ms, audio_s, high) <= limit_p99_ms:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if _p99_ms(service_ms, audio_s, middle) <= limit_p99_ms:
            low = middle
        else:
            high = middle
    return low


def _p99_ms(service_ms: np.ndarray, audio_s: np.ndarray, streams: int) -> float:
    if streams * float(service_ms.mean()) > float(audio_s.mean()) * 1000:
        return float("inf")  # more work than time: it would wait longer and longer
    rng = np.random.default_rng(0)
    per_stream = max(16, -(-_ARRIVALS // streams))
    chosen = rng.integers(0, len(service_ms), (streams, per_stream))
    ends_s = np.cumsum(audio_s[chosen], axis=1)
    ends_s -= rng.random((streams, 1)) * audio_s[chosen[:, :1]]  # not all begin at once
    all_speak = ends_s <= ends_s[:, -1].min()
    order = np.argsort(ends_s[all_speak])
    arrival_ms = ends_s[all_speak][order] * 1000
    service = service_ms[chosen[all_speak][order]]
    # Finish times of a queue: f_i = max(a_i, f_{i-1}) + s_i, without a loop.
    worked = np.cumsum(service)
    finish_ms = worked + np.maximum.accumulate(arrival_ms - (worked - service))
    return float(np.percentile(finish_ms - arrival_ms, 99))
