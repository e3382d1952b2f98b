"""Faults that pydantic found, in the words of this program."""

from __future__ import annotations

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from spaces.checks import unknown
from spaces.document import Document, Loc
from spaces.families import FAMILIES
from spaces.space import Space, Target

_OUR_OWN = ("dims", "rule")  # kinds of errors whose message says everything


def report_fault(document: Document, detail: ErrorDetails) -> None:
    """Add what pydantic found to the faults of the file, with its line."""
    document.add(detail["loc"], _message(detail))


def _message(detail: ErrorDetails) -> str:
    kind, given, loc = detail["type"], detail.get("input"), detail["loc"]
    if kind == "extra_forbidden":
        return unknown(str(loc[-1]), _known_keys(loc[:-1]), "key")
    if kind == "missing":
        from_other = "; `like: edge` takes over those of the shipped space"
        return "is missing" + (from_other if loc == ("students",) else "")
    if kind == "too_short":
        return "is empty: it needs at least one"
    if kind in ("model_type", "dict_type"):
        known = _known_keys(loc)
        return "is not a mapping of keys" + (f"; known: {', '.join(known)}" if known else "")
    if kind == "tuple_type":
        return "is no list: write [one, or, more]"
    message = detail["msg"].removeprefix("Value error, ")
    is_plain = isinstance(given, str | int | float | bool) and kind not in _OUR_OWN
    if is_plain and str(given) not in message:
        message = f"{given!r:.200}: {message[0].lower()}{message[1:]}"
    return message


def _known_keys(loc: Loc) -> list[str]:
    """The keys of the section at a place; empty where any are allowed."""
    if loc[:1] == ("teacher",) and "student" in loc:
        return sorted({"family", *(k for dims in FAMILIES.values() for k in dims.dimensions())})
    if loc[:1] == ("targets",) and len(loc) == 2:
        return list(Target.model_fields)
    model: type[BaseModel] | None = Space
    for step in loc:
        if model is None or str(step) not in model.model_fields:
            return []
        model = _section(model.model_fields[str(step)].annotation)
    return [] if model is None else list(model.model_fields)


def _section(annotation: object) -> type[BaseModel] | None:
    """The record that an annotation names, alone or beside None."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
