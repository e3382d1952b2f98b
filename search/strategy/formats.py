"""One training, many points: a trained network in every other number format of the space.

Export, score and parity of five formats cost 3 % of a training; nobody should train for one.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

from search.strategy.moves import Propose
from spaces.axes import Value
from spaces.points import Values, is_active, recipe_of, refusal
from spaces.space import Space
from storage.records import Trial, TrialState

_TRAINED_FOR = "quantize.qat_epochs"
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
    """The same network in each format, with what matters there; how long it is trained with rounded
    numbers stays as it is, for that is no other format but another training."""
    axes = space.axes_of(str(values["family"]))
    formats = {n: a for n, a in axes.items() if n.startswith("quantize.") and n != _TRAINED_FOR}
    others = {name: value for name, value in values.items() if name not in formats}
    choices = [axis.values_in_order() for axis in formats.values()]
    for chosen in itertools.product(*choices):
        wanted = {**others, **dict(zip(formats, chosen, strict=True))}
        lacks = _TRAINED_FOR in axes and _TRAINED_FOR not in others
        if lacks and is_active(_TRAINED_FOR, wanted):
            continue
        yield {name: value for name, value in wanted.items() if is_active(name, wanted)}
