"""The tables of our reference pages, from the records themselves: `python -m spaces.reference`.

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; what is around is written
by hand. A test compares the page with what is written here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from spaces.axes import Choice
from spaces.backends import BACKENDS
from spaces.families import FAMILIES
from spaces.gates import Gates
from spaces.metrics import METRICS, Metric
from spaces.space import Data, Search, Synthetic, Target, TeacherSource, TeacherTraining, Tokens
from spaces.space.sections import (
    DecodeAxes,
    DistilAxes,
    FrontEndAxes,
    PruneAxes,
    QuantizeAxes,
    StreamingAxes,
    TrainingAxes,
)

_ROOT = Path(__file__).parents[1]
PAGES = (_ROOT / "spaces" / "README.md", _ROOT / "workers" / "backends" / "README.md")
_SECTIONS: dict[str, type[BaseModel]] = {
    "data": Data,
    "synthetic": Synthetic,
    "tokens": Tokens,
    "teacher": TeacherSource,
    "teacher.train": TeacherTraining,
    "front_end": FrontEndAxes,
    "streaming": StreamingAxes,
    "decode": DecodeAxes,
    "training": TrainingAxes,
    "distil": DistilAxes,
    "prune": PruneAxes,
    "quantize": QuantizeAxes,
    "targets": Target,
    "gate": Gates,
    "search": Search,
}


def section_table(section: type[BaseModel]) -> str:
    """Key, default and meaning of each setting of a section."""
    fields = section.model_fields.items()
    return _table(
        ("key", "default", "meaning"),
        ((f"`{name}`", _default(field), field.description or "") for name, field in fields),
    )


def families_table() -> str:
    """Each family with its dimensions and their defaults."""
    rows = []
    for family, dims in FAMILIES.items():
        for name, field in dims.dimensions().items():
            pruned = " (pruned)" if name in dims.prunable else ""
            meaning = f"{field.description or ''}{pruned}"
            rows.append((f"`{family}`", f"`{name}`", _default(field), meaning))
    return _table(("family", "dimension", "default", "meaning"), rows)


def metrics_table() -> str:
    """Each metric with its unit; which may be asked of another target."""
    rows = ((f"`{m.name}`", m.unit, _traits(m), m.meaning) for m in METRICS.values())
    return _table(("metric", "unit", "", "meaning"), rows)


def backends_table() -> str:
    """Each runtime with what it takes."""
    rows = (
        (f"`{b.name}`", b.status, " ".join(b.formats), b.limits or b.meaning)
        for b in BACKENDS.values()
        if b.status != "for tests"
    )
    return _table(("backend", "status", "formats", "limits"), rows)


TABLES: dict[str, Callable[[], str]] = {
    **{name: partial(section_table, section) for name, section in _SECTIONS.items()},
    "families": families_table,
    "metrics": metrics_table,
    "backends": backends_table,
}


def rendered(text: str) -> str:
    """A page with each of its tables as the records have it now."""

    def table(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin {name} -->\n{TABLES[name]()}\n<!-- end {name} -->"

    return re.sub(r"<!-- begin (?P<name>\S+) -->.*?<!-- end (?P=name) -->", table, text, flags=re.S)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Choice):
        value = value.values[0]
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(f'{v:g}' for v in value)}]`"
    if isinstance(value, BaseModel):
        given = value.model_dump(mode="json", exclude_unset=True)
        return f"`{{{', '.join(f'{k}: {_plain(v)}' for k, v in given.items())}}}`"
    return f"`{_plain(value)}`"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _traits(metric: Metric) -> str:
    better = "more is better" if metric.higher_is_better else ""
    return ", ".join(filter(None, (better, "`@target`" if metric.per_target else "")))


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(
        "| " + " | ".join(_on_one_line(cell) for cell in line) + " |" for line in lines
    )


def _on_one_line(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rendered(page.read_text()))
