"""Where a search begins: recipes of which it is known that they do well."""

from __future__ import annotations

import math

from spaces.points import Values, recipe_of, refusal
from spaces.sizes import sized_values
from spaces.space import Space


def initial_design(space: Space, n_trials: int) -> list[Values]:
    """The first recipes of a study: sound settings, every family, from small to large.

    Starting there was the cheapest gain measured: a median hypervolume of .65 instead of .55
    after 20 trials.
    """
    families = list(space.students)
    n_sizes = max(2, math.ceil(n_trials / len(families)))
    out: list[Values] = []
    digests = set()
    for i in range(n_sizes):
        for family in families:
            values = sized_values(space, family, i / (n_sizes - 1))
            digest = recipe_of(values).digest()
            if refusal(space, values) is None and digest not in digests:
                digests.add(digest)
                out.append(values)
    return out[:n_trials]
