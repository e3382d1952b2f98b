"""Trials as records, with what a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spaces.points import recipe_of
from storage.records import Trial, TrialState


def trial_of(number: int, values: Mapping[str, Any], **changes: Any) -> Trial:
    """A complete trial of some values; those that make no recipe have their number as digest."""
    columns: dict[str, Any] = {
        "id": number + 1,
        "study_id": 1,
        "number": number,
        "values": values,
        "recipe": {},
        "recipe_digest": recipe_of(values).digest() if "family" in values else str(number),
        "label": "",
        "source": "sampler",
        "state": TrialState.COMPLETE,
        "created_at": 0.0,
    }
    return Trial(**{**columns, **changes})
