"""Word errors of dev by group of utterances: short enough to keep with each trial, fine enough to
compare two trials in pairs."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 64


def error_groups(errors: Sequence[int]) -> tuple[int, ...]:
    """Errors by utterance summed up in at most 64 groups, which utterances join in turn; the same
    groups for every trial of a study."""
    n_groups = min(_MOST, len(errors))
    return tuple(sum(errors[i::n_groups]) for i in range(n_groups))
