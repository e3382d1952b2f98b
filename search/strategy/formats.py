"""One training, many points: a trained network in every other number format of the space.

Export, score and parity of five formats cost 3 % of a training; nobody should train for one.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

from search.strategy.moves import Propose
from spaces.axes import Value
from spaces.points import Values, recipe_of, refusal
from spaces.space import Space
from storage.records import Trial, TrialState

_TRAINED = (TrialState.COMPLETE, TrialState.INFEASIBLE, TrialState.UNMEASURED)


def other_format(space: Space, trials: Sequence[Trial], tried: Collection[str]) -> Propose | None:
    """A trained network in a format in which nobody has tried it; None where there is none.

    Args:
        trials: those whose results may be seen.
        tried: digests of all recipes so far.
    """
    for trial in trials:
        if trial.state in _TRAINED:
            for values in _in_formats(space, trial.values):
                if recipe_of(values).digest() not in tried and refusal(space, values) is None:
                    return Propose(values, "format")
    return None


def _in_formats(space: Space, values: Mapping[str, Value]) -> Iterable[Values]:
    """The same network in each format."""
    axes = space.axes_of(str(values["family"]))
    formats = {name: axis for name, axis in axes.items() if name.startswith("quantize.")}
    choices = [axis.values_in_order() for axis in formats.values()]
    for chosen in itertools.product(*choices):
        yield {**values, **dict(zip(formats, chosen, strict=True))}
