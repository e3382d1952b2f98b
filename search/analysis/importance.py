"""Which axis matters for an objective."""

from __future__ import annotations

import pandas as pd

from spaces.axes import Axis, Choice
from spaces.metrics import metric_named
from spaces.space import Space

_MOST = 1000


def axis_importances(space: Space, complete: pd.DataFrame, objective: str) -> dict[str, float]:
    """Share of the differences in an objective that each axis explains, adding up to 1.

    PED-ANOVA (Watanabe, Bansal and Hutter, arXiv 2304.10255), as Optuna has it, over complete
    trials. Axes of a family count for its trials only and are left out where there are several
    families; the family itself is an axis then. Empty where it cannot be told.
    """
    import warnings

    import optuna

    from search.distributions import distribution_of

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = complete.dropna(subset=[objective]).tail(_MOST)
    shared = _shared_axes(space, known)
    if len(known) < 8 or not shared:
        return {}
    higher = metric_named(objective).higher_is_better
    study = optuna.create_study(direction="maximize" if higher else "minimize")
    distributions = {name: distribution_of(axis) for name, axis in shared.items()}
    for row in known.to_dict("records"):
        params = {n: row["family"] if n == "family" else row[f"axis.{n}"] for n in shared}
        study.add_trial(
            optuna.trial.create_trial(
                value=float(row[objective]), params=params, distributions=distributions
            )
        )
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


def _shared_axes(space: Space, known: pd.DataFrame) -> dict[str, Axis]:
    """Axes that every one of these trials has a value of, and that vary."""
    axes: dict[str, Axis] = {}
    families = sorted(known["family"].unique())
    if len(families) > 1:
        axes["family"] = Choice(tuple(space.students))
    for family in families:
        for name, axis in space.axes_of(family).items():
            column = f"axis.{name}"
            if column in known and known[column].notna().all() and known[column].nunique() > 1:
                axes[name] = axis
    return axes
