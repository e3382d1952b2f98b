"""What a space asks for that the way it is launched does not allow."""

from __future__ import annotations

from search.errors import UsageFault
from spaces.space import Space


def check_repeatable(space: Space) -> None:
    """A search that shall come to the same again decides nothing by what it measures.

    Raises:
        UsageFault: where measured times decide what is pruned.
    """
    if "time" in space.prune.scope.values_in_order():
        raise UsageFault(
            "prune.scope: time: what is pruned would follow from measured times, which differ from "
            "run to run; take it out for --deterministic"
        )
