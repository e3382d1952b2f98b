"""What all our records have in common: frozen, closed, finite, JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
)


class Record(BaseModel):
    """Base of the sections of a space, of recipes, jobs and results. Adds no code."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Grown(Record):
    """A record that later versions gave more fields, those in `later`: they are not written where
    they ask for nothing, so that what is written has the digest that older studies know."""

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _as_before(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = fields(self)
        for name in self.later:
            field = type(self).model_fields[name]
            if getattr(self, name) == field.get_default(call_default_factory=True):
                content.pop(name, None)
        return content


# What JSON holds, for the places that keep it without looking into it.
JsonObject = Mapping[str, JsonValue]
