"""What goes."""

from __future__ import annotations

from collections.abc import Sequence

from search.housekeeping.survey import Item

# Made again from audio and teacher alone, whenever a study asks for it.
_FROM_INPUTS = ("read audio", "corpus", "soft targets", "spoken corpus")


def removals(items: Sequence[Item], before: float, budget_gb: float | None = None) -> list[Item]:
    """What nothing uses, and then what can be made again, oldest first, while there is more than
    the budget. Models of trials are never taken for the budget: nobody could export them then.

    Args:
        before: what changed later stays.
    """
    old = [item for item in items if item.changed_at < before]
    going = [item for item in old if not item.used_by]
    if budget_gb is None:
        return going
    left = sum(i.size_bytes for i in items) - sum(i.size_bytes for i in going)
    made_again = [i for i in old if i.used_by and i.kind in _FROM_INPUTS]
    for item in sorted(made_again, key=lambda i: i.changed_at):
        if left <= budget_gb * 1e9:
            break
        going.append(item)
        left -= item.size_bytes
    return going
