"""Whether a run can be trusted: pure functions of its samples and of what went on beside it."""

from __future__ import annotations

import numpy as np

from workers.probe.machine import LoadReport

WALL_OVER_CPU = 1.15  # above, a single thread was not alone on its core
OTHERS_PER_CORE = 0.08  # busy share of all cores, by others
STOLEN_SHARE = 0.05
DRIFT = 0.05
SLOW_MODE = 1.10  # a second mode this much slower ...
SLOW_SHARE = 0.15  # ... in at least this share of the runs
TWO_MODES = 0.85  # share of the variance that lies between them; evenly spread samples have 0.75
SLOWER_CLOCK = 0.90
RESTARTS_DIFFER = 0.05


def normalised(samples: np.ndarray) -> np.ndarray:
    """Samples [passes, utterances] over the median of their utterance: float [passes, utterances].

    Utterances differ in length; what is left is the noise.
    """
    return samples / np.median(samples, axis=0, keepdims=True)


def half_interval(samples: np.ndarray) -> float:
    """Half the 95 % interval of the median, relative, by order statistics (no distribution is
    assumed; David and Nagaraja, Order Statistics, 7.1). Infinite for fewer than six samples."""
    flat = np.sort(normalised(samples).ravel())
    n = len(flat)
    reach = 1.96 * np.sqrt(n) / 2
    low, high = int(np.floor((n - 1) / 2 - reach)), int(np.ceil((n - 1) / 2 + reach))
    if low < 0 or high >= n:
        return float("inf")
    return float(flat[high] - flat[low]) / 2


def unsteady(
    samples: np.ndarray, watched: LoadReport, cores: int, wall_over_cpu: float | None
) -> tuple[str, ...]:
    """Reasons not to trust samples [passes, utterances] in ms; none where there is none."""
    return (*_disturbed(watched, cores, wall_over_cpu), *_irregular(samples))


def _disturbed(watched: LoadReport, cores: int, wall_over_cpu: float | None) -> list[str]:
    reasons = []
    others, stolen = watched.others_load, watched.stolen_share
    if wall_over_cpu is not None and wall_over_cpu > WALL_OVER_CPU:
        reasons.append(f"not alone on its core (wall {wall_over_cpu:.2f} × CPU time)")
    if others is not None and others > OTHERS_PER_CORE * cores:
        reasons.append(f"competing load ({others:.2f} of {cores} cores busy with other work)")
    if stolen is not None and stolen > STOLEN_SHARE:
        reasons.append(f"the virtual machine was held back ({stolen:.0%} of a core)")
    if watched.throttled:
        reasons.append("the processor throttled itself")
    if watched.frequency_ratio is not None and watched.frequency_ratio < SLOWER_CLOCK:
        reasons.append(f"the clock fell to {watched.frequency_ratio:.0%}")
    return reasons


def _irregular(samples: np.ndarray) -> list[str]:
    reasons = []
    noise = normalised(samples)
    third = len(noise) // 3
    if third:
        drift = float(np.median(noise[-third:]) / np.median(noise[:third])) - 1
        if abs(drift) > DRIFT:
            reasons.append(f"drift ({drift:+.0%} from the first third to the last)")
    slower, share = second_mode(noise.ravel())
    if slower > SLOW_MODE and share >= SLOW_SHARE:
        reasons.append(f"two modes ({share:.0%} of the runs {slower - 1:.0%} slower)")
    return reasons


def second_mode(samples: np.ndarray) -> tuple[float, float]:
    """(how much slower the slower of two modes is, its share); (1, 0) where there is one mode.

    The split that explains most variance (Otsu, 1979) stands for two modes if it explains more
    than evenly spread samples would show; the slowest 2 % are left out as outliers.
    """
    flat = np.sort(samples)[: max(2, int(len(samples) * 0.98))]
    n = len(flat)
    total = float(np.var(flat)) * n
    if n < 10 or total == 0:
        return 1.0, 0.0
    counts = np.arange(1, n)
    sums = np.cumsum(flat)[:-1]
    left, right = sums / counts, (flat.sum() - sums) / (n - counts)
    between = counts * (n - counts) / n * (right - left) ** 2
    best = int(between.argmax())
    if between[best] / total < TWO_MODES:
        return 1.0, 0.0
    return float(right[best] / left[best]), float((n - counts[best]) / n)
