"""Intervals of word error rates, utterances drawn anew (Bisani and Ney, ICASSP 2004)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_BATCH = 256  # all draws of a large set at once take gigabytes

Rate = Callable[..., np.ndarray]


def rate(errors: np.ndarray, words: np.ndarray, axis: int = -1) -> np.ndarray:
    """Errors over words, of sums along an axis."""
    total: np.ndarray = errors.sum(axis) / np.maximum(1, words.sum(axis))
    return total


def rate_interval(errors: np.ndarray, words: np.ndarray, resamples: int) -> tuple[float, float]:
    """95 % percentile interval of an error rate; `errors` and `words` are float or int [n]."""
    return _interval((errors, words), rate, resamples)


def difference_interval(
    a: np.ndarray, b: np.ndarray, words: np.ndarray, resamples: int
) -> tuple[float, float]:
    """95 % interval of the rate of `b` less that of `a`, over the same utterances."""

    def difference(x: np.ndarray, y: np.ndarray, n: np.ndarray, axis: int = -1) -> np.ndarray:
        return rate(y, n, axis) - rate(x, n, axis)

    return _interval((a, b, words), difference, resamples)


def _interval(data: tuple[np.ndarray, ...], statistic: Rate, resamples: int) -> tuple[float, float]:
    if len(data[0]) < 2:  # nothing to draw from
        value = float(statistic(*data))
        return value, value
    drawn = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=_BATCH,
        method="percentile",
        rng=np.random.default_rng(0),
    ).bootstrap_distribution
    # scipy's own interval differs in the last bit from what earlier studies hold.
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)
