"""Which axis matters for an objective, and how sure that is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spaces.axes import Axis, Choice
from spaces.metrics import metric_named
from spaces.space import Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST = 30  # complete trials: of fewer one cannot tell
_MOST = 300  # the latest
_DRAWS = 30
_PERCENTILES = (2.5, 97.5)
_ERRORS_ONLY = ("training", "distil", "losses")  # sections of which no time and no size depends


@dataclass(frozen=True)
class Importance:
    """Share of the differences that an axis explains, 0 to 1, and its 95 % bootstrap interval."""

    share: float
    low: float
    high: float


def axis_importances(
    space: Space, complete: pd.DataFrame, objective: str, draws: int = _DRAWS
) -> dict[str, Importance]:
    """Share of the differences in an objective that each axis explains, adding up to 1.

    PED-ANOVA (Watanabe, Bansal and Hutter, arXiv 2304.10255), as Optuna has it, over the latest
    complete trials, and over those drawn anew from them. Axes of a family count for its trials only
    and are left out where there are several families; the family itself is an axis then. What an
    axis cannot act on it does not explain: settings of training are no axes of times and sizes.
    Empty where it cannot be told, as of fewer than 30 trials.
    """
    known = _trained(space, complete.dropna(subset=[objective])).tail(_MOST)
    shared = _shared_axes(space, known, objective)
    if len(known) < FEWEST or not shared:
        return {}
    trials = _trials(known, shared, objective)
    higher = metric_named(objective).higher_is_better
    found = _shares(trials, higher)
    rng = np.random.default_rng(0)
    drawn = [
        _shares([trials[i] for i in rng.integers(len(trials), size=len(trials))], higher)
        for _ in range(draws if found else 0)
    ]
    return {
        axis: _importance(share, [d.get(axis, 0.0) for d in drawn if d])
        for axis, share in found.items()
    }


def _importance(share: float, drawn: list[float]) -> Importance:
    low, high = np.percentile(drawn, _PERCENTILES) if drawn else (0.0, 1.0)
    return Importance(share, min(share, float(low)), max(share, float(high)))


def _trials(known: pd.DataFrame, shared: dict[str, Axis], objective: str) -> list[FrozenTrial]:
    import optuna

    from search.distributions import distribution_of

    distributions = {name: distribution_of(axis) for name, axis in shared.items()}
    return [
        optuna.trial.create_trial(
            value=float(row[objective]),
            params={n: row["family"] if n == "family" else row[f"axis.{n}"] for n in shared},
            distributions=distributions,
        )
        for row in known.to_dict("records")
    ]


def _shares(trials: list[FrozenTrial], higher_is_better: bool) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize" if higher_is_better else "minimize")
    study.add_trials(trials)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the evaluator is marked experimental
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
    except (ValueError, RuntimeError):  # all trials equal in it
        return {}
    total = sum(found.values())
    return {k: v / total for k, v in found.items()} if total > 0 else {}


def _trained(space: Space, trials: pd.DataFrame) -> pd.DataFrame:
    """Without the teacher's own graph, which has next to no axes, where there are others."""
    is_trained = trials["family"].isin(space.trained_families)
    return trials[is_trained] if is_trained.any() else trials


def _shared_axes(space: Space, known: pd.DataFrame, objective: str) -> dict[str, Axis]:
    """Axes that every one of these trials has a value of, that vary, and that can act on it."""
    axes: dict[str, Axis] = {}
    of_shape = metric_named(objective).known_untrained
    families = sorted(known["family"].unique())
    if len(families) > 1:
        axes["family"] = Choice(tuple(space.students))
    for family in families:
        for name, axis in space.axes_of(family).items():
            column = f"axis.{name}"
            if of_shape and name.partition(".")[0] in _ERRORS_ONLY:
                continue
            if column in known and known[column].notna().all() and known[column].nunique() > 1:
                axes[name] = axis
    return axes
