"""A JSON Schema (draft 2020-12) of space files, for editors: what completes a key as it is typed.

It says of a file less than `load_space` does (nothing of bounds across sections), and nothing that
that one does not: every space that loads is valid by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from spaces.families import FAMILIES
from spaces.load import shipped_spaces
from spaces.metrics import METRICS
from spaces.space import Space
from spaces.space.like import LIKE

SCHEMA_FILE = Path(__file__).parent / "space.schema.json"  # `python -m spaces.schema` writes it
_PLAIN: JsonSchemaValue = {"type": ["boolean", "number", "string"]}
_CHOICE: JsonSchemaValue = {"type": "array", "items": _PLAIN, "minItems": 1}
_BOUNDS: JsonSchemaValue = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 2,
    "maxItems": 2,
}


def _range(kind: str) -> JsonSchemaValue:
    step_and_log = {"step": {"type": "number"}, "log": {"type": "boolean"}}
    properties = {kind: _BOUNDS, **step_and_log}
    return _closed(properties, required=[kind])


def _closed(properties: Mapping[str, object], **more: object) -> JsonSchemaValue:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


_AXIS: JsonSchemaValue = {
    "anyOf": [
        _PLAIN,
        _CHOICE,
        _closed({"choice": _CHOICE}, required=["choice"]),
        _range("int"),
        _range("float"),
    ]
}
_METRIC = f"^({'|'.join(map(re.escape, METRICS))})(@.+)?$"
_BUDGETS: JsonSchemaValue = {
    "type": "object",
    "patternProperties": {_METRIC: {"type": "string", "pattern": "^\\s*(<=|>=)"}},
    "additionalProperties": False,
}


def _or(*types: JsonSchemaValue) -> Callable[[JsonSchemaValue], JsonSchemaValue]:
    """What a validator reads beside what its field holds."""
    return lambda inner: {"anyOf": [*types, inner]}


# What stands in a file where a validator reads it first, by the validator's name.
_READ_BY: dict[str, Callable[[JsonSchemaValue], JsonSchemaValue]] = {
    "parse_axis": lambda _: _AXIS,
    "parse_budgets": lambda _: {"anyOf": [_BUDGETS, {"type": "null"}]},
    "parse_rule": lambda _: {"type": "object"},
    "parse_dims": lambda _: _dims_schema(),
    "parse": lambda _: {"type": "string", "pattern": _METRIC},  # a metric
    "_as_tuple": _or({"type": "string"}),
    "_switch": _or({"type": "boolean"}),
    "read": _or({"type": ["boolean", "string"]}),  # a limit of a gate
    "_off": _or({"type": "boolean"}),  # a bare `off`
}


class _Generator(GenerateJsonSchema):
    """pydantic's own, told what our validators read."""

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        return _read_by(schema["function"], lambda: self.generate_inner(schema["schema"]))

    def function_plain_schema(
        self, schema: core_schema.PlainValidatorFunctionSchema
    ) -> JsonSchemaValue:
        return _read_by(schema["function"], dict)

    def dataclass_schema(self, _schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return {}  # never written: a validator makes it of what is

    def is_instance_schema(self, _schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:
        return {}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])  # defaults are records, not what is written


def _read_by(function: Mapping[str, Any], inner: Callable[[], JsonSchemaValue]) -> JsonSchemaValue:
    name = getattr(function["function"], "__name__", "")
    return _READ_BY[name](inner()) if name in _READ_BY else inner()


def _dims_schema() -> JsonSchemaValue:
    """A network with fixed dimensions: those of its family."""
    families = [
        _closed({"family": {"const": family}, **_dimensions(fields, _PLAIN)}, required=["family"])
        for family, fields in _families().items()
    ]
    return {"anyOf": families}


def _families() -> dict[str, dict[str, FieldInfo]]:
    return {family: dims.dimensions() for family, dims in FAMILIES.items()}


def _dimensions(fields: Mapping[str, FieldInfo], value: JsonSchemaValue) -> JsonSchemaValue:
    return {
        name: {**value, "description": field.description or "dimension of the network"}
        for name, field in fields.items()
    }


def modeline() -> str:
    """The comment by which editors find the schema of this installation (families of other
    packages are not in the file that ships; `search schema OUT.json` writes them as well)."""
    return f"# yaml-language-server: $schema={SCHEMA_FILE}"


def space_schema() -> JsonSchemaValue:
    """The schema of a whole space file."""
    schema = Space.model_json_schema(schema_generator=_Generator)
    properties = schema["properties"]
    properties["students"] = {
        "type": "object",
        "description": "families to search, each with its axes",
        "properties": {
            family: {"anyOf": [_closed(_dimensions(fields, _AXIS)), {"type": "null"}]}
            for family, fields in _families().items()
        },
        "additionalProperties": False,
    }
    properties[LIKE] = {
        "enum": sorted(shipped_spaces()),
        "description": "the shipped space that has what this file does not say",
    }
    schema["required"].remove("students")  # where there is another to be like
    schema["anyOf"] = [{"required": ["students"]}, {"required": [LIKE]}]
    schema = _with_named(schema, _AXIS, "axis")
    schema["$defs"]["axis"] = _AXIS
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "A space of the compression search",
    }


def _with_named(node: Any, part: JsonSchemaValue, name: str) -> Any:
    """The same with a reference wherever that part stands."""
    if node == part:
        return {"$ref": f"#/$defs/{name}"}
    if isinstance(node, dict):
        if part.items() <= node.items():
            rest = {key: value for key, value in node.items() if key not in part}
            return {**_with_named(rest, part, name), "$ref": f"#/$defs/{name}"}
        return {key: _with_named(value, part, name) for key, value in node.items()}
    return [_with_named(value, part, name) for value in node] if isinstance(node, list) else node


def schema_text() -> str:
    """The same as a file."""
    return json.dumps(space_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
