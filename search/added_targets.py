"""Targets that a study was given beside those of its space.

What a study decides follows from its space alone: its objectives, budgets and gates, and what new
trials are measured on. An added target gives figures of trials that are there, and is read by
whoever shows, picks or exports.
"""

from __future__ import annotations

from collections.abc import Collection

from spaces.load import parse_space
from spaces.space import Space, Target
from storage.records import Study


def own_space_of(study: Study) -> Space:
    """The space that a study was started with: what decides in it."""
    return parse_space(study.space_yaml, study.space_path).model_copy(update={"name": study.name})


def space_of(study: Study) -> Space:
    """The same with the targets that were added since: what is known of its trials."""
    return with_added(own_space_of(study), study)


def added_targets(study: Study) -> dict[str, Target]:
    """By name, in the order in which they were added."""
    return {n: Target.model_validate(t) for n, t in study.added_targets.items()}


def with_added(space: Space, study: Study, names: Collection[str] | None = None) -> Space:
    """A study's space with its added targets behind its own.

    Args:
        names: only those of them; all by default.
    """
    added = {n: t for n, t in added_targets(study).items() if names is None or n in names}
    return space.model_copy(update={"targets": {**space.targets, **added}}) if added else space
