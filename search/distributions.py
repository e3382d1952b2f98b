"""Axes as Optuna knows them."""

from __future__ import annotations

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from spaces.axes import Axis, Choice, IntRange


def distribution_of(axis: Axis) -> BaseDistribution:
    """An axis as Optuna knows it."""
    if isinstance(axis, Choice):
        return CategoricalDistribution(axis.values)
    if isinstance(axis, IntRange):
        return IntDistribution(axis.low, axis.last, log=axis.log, step=axis.step)
    return FloatDistribution(axis.low, axis.last, log=axis.log, step=axis.step)
