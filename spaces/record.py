"""What all our records have in common: frozen, closed, finite, JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, JsonValue


class Record(BaseModel):
    """Base of the sections of a space, of recipes, jobs and results. Adds no code."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


# What JSON holds, for the places that keep it without looking into it.
JsonObject = Mapping[str, JsonValue]
