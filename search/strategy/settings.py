"""Settings are not shape: learning rate, augmentation and distillation are learnt across trials.

They move the word errors of a student more than its shape does (5 to 7 points on recorded speech),
and much the same way in each of a family. So they need not be searched anew for every shape: a
linear model of the logarithm of WER over size, pruning and settings tells, from all trials of a
family, what each setting does. Every proposal draws once from what the model holds for possible
(Thompson, Biometrika 1933) and takes the settings that are best in that draw: as long as two are
not told apart both are tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spaces.axes import Axis, Choice, Value
from spaces.points import Values, choose, refusal
from spaces.space import Space
from storage.records import Trial

_SECTIONS = ("training.", "distil.", "losses.")
_NO_SETTING = ("training.epochs",)  # how much is spent, not how well
_FEWEST = 6  # trials of a family
_EFFECT_SD = 0.2  # of the logarithm of WER: what a setting may do
_NOISE_SD = 0.15  # and what a model of size and settings leaves, before trials tell
_PSEUDO_TRIALS = 4.0  # how much that counts against what trials tell
_STEPS = 8  # of a range
_Z95 = 1.96


@dataclass(frozen=True)
class Finding:
    """The best value of a setting beside the worst: the share of word errors that it saves, with
    its 95 % interval, and from how many trials that is known."""

    family: str
    axis: str
    best: Value
    worst: Value
    saves: float
    low: float
    high: float
    n_trials: int

    @property
    def is_sure(self) -> bool:
        return self.low > 0

    def __str__(self) -> str:
        name = self.axis.partition(".")[2].replace("_", " ")
        return (
            f"{self.family}: {name} {_text(self.best)} makes {self.saves:.0%} fewer word errors "
            f"than {_text(self.worst)} (95 %: {self.low:.0%} to {self.high:.0%}; "
            f"{self.n_trials} trials)"
        )


def with_settings(
    space: Space, values: Values, trials: Sequence[Trial], rng: np.random.Generator
) -> Values:
    """Proposed values with the settings that a draw from the model holds for best; as they are
    while a family has too few trials.

    Args:
        trials: with what stopped ones would have come to.
    """
    family = str(values["family"])
    if family not in space.trained_families:
        return values
    model = _model_of(space, family, trials)
    if model is None:
        return values
    effects = model.draw(rng)

    def pick(name: str, axis: Axis) -> Value:
        if name not in model.columns:
            return values[name]
        return min(_candidates(axis), key=lambda v: float(_encoded(axis, v) @ effects[name]))

    try:
        found = choose(space, family, pick)
    except KeyError:  # what another setting only now makes an axis of: it keeps what was proposed
        return values
    return values if refusal(space, found) is not None else found


def findings(space: Space, trials: Sequence[Trial]) -> list[Finding]:
    """What the trials tell of each setting, those that are told first."""
    found = []
    for family in space.trained_families:
        model = _model_of(space, family, trials)
        if model is not None:
            found += [model.finding(name, axis) for name, axis in model.columns.items()]
    return sorted(found, key=lambda f: -f.low)


@dataclass(frozen=True)
class _Model:
    """The posterior of a Bayesian linear regression, its settings by axis."""

    family: str
    columns: Mapping[str, Axis]
    mean: np.ndarray  # float [n]: first intercept, size, pruning; then what encodes each setting
    covariance: np.ndarray  # float [n, n]
    n_trials: int

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        drawn = rng.multivariate_normal(self.mean, self.covariance, method="cholesky")
        return {name: drawn[place] for name, place in self._places()}

    def _places(self) -> Iterator[tuple[str, slice]]:
        first = _N_SHAPE
        for name, axis in self.columns.items():
            size = len(_encoded(axis, axis.at(0.0)))
            yield name, slice(first, first + size)
            first += size

    def finding(self, name: str, axis: Axis) -> Finding:
        place = dict(self._places())[name]
        mean, covariance = self.mean[place], self.covariance[place, place]
        ordered = sorted(_candidates(axis), key=lambda v: float(_encoded(axis, v) @ mean))
        apart = _encoded(axis, ordered[-1]) - _encoded(axis, ordered[0])
        gain, spread = float(apart @ mean), _Z95 * math.sqrt(float(apart @ covariance @ apart))
        saved = [1 - math.exp(-g) for g in (gain, gain - spread, gain + spread)]
        saves, low, high = saved
        return Finding(self.family, name, ordered[0], ordered[-1], saves, low, high, self.n_trials)


_N_SHAPE = 3


def _model_of(space: Space, family: str, trials: Sequence[Trial]) -> _Model | None:
    axes = {
        name: axis
        for name, axis in space.axes_of(family).items()
        if name.startswith(_SECTIONS) and name not in _NO_SETTING and axis.size() != 1
    }
    known = [t for t in trials if t.values.get("family") == family and _wer(space, t) is not None]
    known = [t for t in known if t.metrics.get("params", 0) > 0]
    if not axes or len(known) < _FEWEST:
        return None
    rows = np.array([_row(t, axes) for t in known])
    errors = np.log([max(_wer(space, t) or 0.0, 1e-3) for t in known])
    precision = np.full(rows.shape[1], 1 / _EFFECT_SD**2)
    precision[:_N_SHAPE] = 1e-4
    noise = _NOISE_SD**2
    for _ in range(3):
        inverse = rows.T @ rows / noise + np.diag(precision)
        covariance = np.linalg.inv(inverse)
        mean = covariance @ (rows.T @ errors) / noise
        left = float(((errors - rows @ mean) ** 2).sum())
        noise = (left + _PSEUDO_TRIALS * _NOISE_SD**2) / (len(known) + _PSEUDO_TRIALS)
    return _Model(family, axes, mean, (covariance + covariance.T) / 2, len(known))


def _wer(space: Space, trial: Trial) -> float | None:
    """As the sampler is told: of stopped trials what they would have come to."""
    places = [i for i, o in enumerate(space.objectives) if o.name == "wer"]
    if trial.objective_values is None or not places:
        return None
    return trial.objective_values[places[0]]


def _row(trial: Trial, axes: Mapping[str, Axis]) -> np.ndarray:
    shape = [
        1.0,
        math.log(trial.metrics["params"]),
        float(trial.values.get("prune.ratio", 0.0)),
    ]
    encoded = [
        _encoded(axis, trial.values[name])
        if name in trial.values
        else np.zeros(len(_encoded(axis, axis.at(0.0))))
        for name, axis in axes.items()
    ]
    return np.concatenate([shape, *encoded])


def _encoded(axis: Axis, value: Value) -> np.ndarray:
    """Of a choice a column for each value; of a range its place from -1 to 1 and its square."""
    if isinstance(axis, Choice):
        return np.array([float(value == v) for v in axis.values])
    low, high, at = float(axis.low), float(axis.last), float(value)
    if axis.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    place = 2 * (at - low) / max(high - low, 1e-12) - 1
    return np.array([place, place**2])


def _candidates(axis: Axis) -> list[Value]:
    if isinstance(axis, Choice):
        return list(axis.values)
    return list(dict.fromkeys(axis.at(step / _STEPS) for step in range(_STEPS + 1)))


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
