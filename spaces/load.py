"""Reads a space file whole: all its faults in one message, each with its line."""

from __future__ import annotations

import difflib
import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from spaces.axes import Axis, AxisError, Choice, FloatRange, parse_axis
from spaces.errors import Fault, SpaceError
from spaces.families import FAMILIES
from spaces.metrics import metric_named
from spaces.points import random_values, refused_by_target, rule_fault
from spaces.recipe import Distil, Prune, Training
from spaces.space import Space, parse_budget

SHIPPED_FOLDER = Path(__file__).parent
_MAX_BYTES = 1_000_000
_MAX_VALUES = 100_000
_SECTIONS: dict[str, type[BaseModel]] = {"training": Training, "distil": Distil, "prune": Prune}

Loc = tuple[str | int, ...]


@dataclass
class _Document:
    """Parsed YAML with the line of every key."""

    content: Any
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line_of(self, loc: Loc) -> int:
        steps = tuple(map(str, loc))
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return self.lines.get(steps, 1)

    def add(self, loc: Loc, message: str) -> None:
        self.faults.append(Fault(self.line_of(loc), ".".join(map(str, loc)), message))


def shipped_spaces() -> dict[str, Path]:
    """Name to path of the spaces that come with the package."""
    return {p.stem: p for p in sorted(SHIPPED_FOLDER.glob("*.yaml"))}


def find_space(name: str | Path) -> Path:
    """The file of that path, or else the shipped space of that name.

    Raises:
        SpaceError: naming the shipped ones.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_spaces()
    if len(path.parts) == 1 and path.stem in shipped and path.suffix in ("", ".yaml", ".yml"):
        return shipped[path.stem]
    what = "is a folder, not a file" if path.is_dir() else "no such file"
    near = difflib.get_close_matches(path.stem, shipped, 1)
    hint = f' (did you mean the shipped space "{near[0]}.yaml"?)' if near else ""
    known = ", ".join(f"{s}.yaml" for s in shipped)
    raise SpaceError(path, [Fault(0, "", f"{what}{hint}; shipped spaces: {known}")])


def load_space(path: str | Path) -> Space:
    """Load and validate a space file, or a shipped space by name.

    Paths inside the file are taken relative to the file's own folder.

    Raises:
        SpaceError: listing every fault with its line.
    """
    found = find_space(path)
    return parse_space(read_text(found), found)


def read_text(found: Path) -> str:
    """The text of a space file.

    Raises:
        SpaceError: when it is none.
    """
    try:
        raw = found.read_bytes()
    except OSError as error:
        raise SpaceError(found, [Fault(0, "", f"cannot be read: {error.strerror}")]) from error
    if len(raw) > _MAX_BYTES:
        raise SpaceError(found, [Fault(0, "", f"is {len(raw):,} bytes: no space file")])
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SpaceError(found, [Fault(line, "", "is not UTF-8 text; save it as UTF-8")]) from error


def parse_space(text: str, path: str | Path, folder: Path | None = None) -> Space:
    """Validate the text of a space file; `path` is used in messages.

    Raises:
        SpaceError: listing every fault with its line.
    """
    document = _parse_yaml(text, path)
    if not isinstance(document.content, dict):
        document.faults.append(Fault(1, "", "is not a mapping of keys such as name:, data:, …"))
        raise SpaceError(path, document.faults)
    _check_students(document)
    _check_sections(document)
    _check_budgets(document)
    _check_targets(document)
    space = _validate(document)
    if space is not None:
        _check_rules(document, space)
    if document.faults or space is None:
        raise SpaceError(path, document.faults)
    return _with_absolute_paths(space, folder or Path(path).resolve().parent)


def _parse_yaml(text: str, path: str | Path) -> _Document:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SpaceError(path, [Fault(line, "", f"is not YAML: {_reason(error)}")]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "nested too deeply"
        raise SpaceError(path, [Fault(1, "", f"is not YAML: {reason}")]) from error
    document = _Document(content)
    if node is not None:
        try:
            _walk(node, (), document, set())
        except _Endless as error:
            fault = Fault(error.line, ".".join(error.loc), f"{error}; write the values out")
            raise SpaceError(path, [fault]) from error
    return document


def _reason(error: yaml.MarkedYAMLError) -> str:
    reason = ", ".join(part for part in (error.context, error.problem) if part)
    return reason + "; indent with spaces, not tabs" * ("'\\t'" in reason)


class _Endless(Exception):
    """Aliases that never end, or as good as never."""

    def __init__(self, message: str, line: int, loc: tuple[str, ...]) -> None:
        super().__init__(message)
        self.line, self.loc = line, loc


def _walk(node: yaml.Node, loc: tuple[str, ...], document: _Document, open_nodes: set[int]) -> None:
    line = document.lines.setdefault(loc, node.start_mark.line + 1)
    if id(node) in open_nodes:
        raise _Endless("refers to itself", line, loc)
    if len(document.lines) > _MAX_VALUES:
        line = document.lines.get(loc[:1], line)
        raise _Endless(f"its aliases stand for more than {_MAX_VALUES:,} values", line, loc[:1])
    open_nodes = open_nodes | {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            child = (*loc, str(key.value))
            if child in document.lines:
                document.faults.append(
                    Fault(key.start_mark.line + 1, ".".join(child), "is given twice")
                )
            document.lines[child] = key.start_mark.line + 1
            _walk(value, child, document, open_nodes)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _walk(value, (*loc, str(i)), document, open_nodes)


def _check_students(document: _Document) -> None:
    """Each family known, each axis a dimension of it, each bound a legal value."""
    students = document.content.get("students")
    if not isinstance(students, dict):
        return
    for family, axes in list(students.items()):
        loc: Loc = ("students", str(family))
        if family not in FAMILIES:
            document.add(loc, _unknown(str(family), list(FAMILIES), "student family"))
            students[family] = {}
            continue
        if axes is None:
            students[family] = axes = {}
        if not isinstance(axes, dict):
            document.add(loc, "holds the axes of the family, one a line: `channels: [64, 128]`")
            students[family] = {}
            continue
        dims = {k: f for k, f in FAMILIES[family].model_fields.items() if k != "family"}
        for name, raw in list(axes.items()):
            if name not in dims:
                document.add((*loc, str(name)), _unknown(str(name), list(dims), "axis"))
                del axes[name]
                continue
            _check_axis(document, (*loc, name), raw, FAMILIES[family])


def _check_sections(document: _Document) -> None:
    """Each bound of an axis that is not a family's own a legal value."""
    for section, record in _SECTIONS.items():
        axes = document.content.get(section)
        for name, raw in axes.items() if isinstance(axes, dict) else ():
            if name in record.model_fields:
                _check_axis(document, (section, name), raw, record)


def _check_axis(document: _Document, loc: Loc, raw: object, record: type[BaseModel]) -> None:
    try:
        axis = parse_axis(raw)
    except AxisError:
        return  # reported with its line by the validation of the whole
    if isinstance(axis, FloatRange) and record.model_fields[str(loc[-1])].annotation is int:
        document.add(loc, "takes whole numbers: write {int: [low, high]}")
        return
    if loc[-1] == "kernel" and any(int(v) % 2 == 0 for v in axis.values_in_order()):
        document.add(loc, "a kernel is an odd number of frames (with a range: odd low, step 2)")
        return
    for value in _bounds(axis):
        try:
            record.model_validate({loc[-1]: value})
        except ValidationError as error:
            document.add(loc, f"{value!r}: {error.errors()[0]['msg'].lower()}")
            return


def _bounds(axis: Axis) -> list[Any]:
    return list(axis.values) if hasattr(axis, "values") else [axis.low, axis.high]


def _check_budgets(document: _Document) -> None:
    budgets = document.content.get("budgets")
    if budgets is None:
        document.content.pop("budgets", None)
        return
    if not isinstance(budgets, dict):
        document.add(("budgets",), 'holds one limit a line, such as size_mb: "<= 15"')
        document.content.pop("budgets")
        return
    for metric, raw in budgets.items():
        try:
            metric_named(metric)
            parse_budget(metric, raw)
        except ValueError as error:
            document.add(("budgets", str(metric)), str(error))


def _check_targets(document: _Document) -> None:
    """Each `metric@target` names a target of the file."""
    targets = document.content.get("targets")
    if not isinstance(targets, dict):
        targets = Space.model_fields["targets"].get_default(call_default_factory=True)
    objectives = document.content.get("objectives")
    names = list(enumerate(objectives)) if isinstance(objectives, list) else []
    places: list[tuple[Loc, Any]] = [(("objectives", i), name) for i, name in names]
    places += [(("budgets", str(m)), m) for m in document.content.get("budgets", ())]
    for loc, name in places:
        target = str(name).partition("@")[2]
        if target and target not in targets:
            known = ", ".join(map(str, targets))
            document.add(loc, f"{name}: no target {target} (targets: {known})")


def _validate(document: _Document) -> Space | None:
    try:
        return Space.model_validate(document.content)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _report(document, detail)
    return None


def _report(document: _Document, detail: Any) -> None:
    loc = _clean(detail["loc"], document)
    document.add(loc, _message(detail, loc))


def _message(detail: Any, loc: Loc) -> str:
    kind, given = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        return _unknown(str(loc[-1]), _known_keys(loc[:-1]), "key")
    if kind == "missing":
        return "is missing"
    if kind == "too_short":
        return "is empty: it needs at least one"
    if kind == "union_tag_invalid":
        return _unknown(str(detail["ctx"]["tag"]), list(FAMILIES), "student family")
    if kind == "union_tag_not_found":
        return f"needs family: one of {', '.join(FAMILIES)}"
    if kind in ("model_type", "dict_type"):
        known = _known_keys(loc)
        return "is no mapping of keys" + (f"; known: {', '.join(known)}" if known else "")
    message: str = detail["msg"].removeprefix("Value error, ")
    if isinstance(given, str | int | float | bool) and str(given) not in message:
        message = f"{given!r}: {message[0].lower()}{message[1:]}"
    return message


def _clean(loc: Loc, document: _Document) -> Loc:
    """Drop the names that pydantic adds for the members of a union."""
    out: Loc = ()
    for step in loc:
        if step in FAMILIES and tuple(map(str, (*out, step))) not in document.lines:
            continue
        out = (*out, step)
    return out


def _known_keys(loc: Loc) -> list[str]:
    model: Any = Space
    for step in loc:
        if loc[:1] == ("teacher",) and step == "student":
            return sorted({k for record in FAMILIES.values() for k in record.model_fields})
        if loc[:1] == ("targets",) and len(loc) == 2:
            model = Space.model_fields["targets"].annotation.__args__[1]  # type: ignore[union-attr]
            break
        if model is None:
            break
        model = _section(model.model_fields[str(step)].annotation)
    return list(model.model_fields) if model is not None else []


def _section(annotation: Any) -> Any:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _unknown(name: str, known: list[str], noun: str) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"
    return f"unknown {noun}; {hint}"


def _check_rules(document: _Document, space: Space) -> None:
    known = dict(_rule_axes(space))
    for i, rule in enumerate(space.forbid):
        for key, wanted in rule.items():
            loc: Loc = ("forbid", i, key)
            if key not in known:
                document.add(loc, _unknown(key, sorted(known), "axis"))
            elif fault := rule_fault(wanted, known[key]):
                document.add(loc, fault)
    _check_families(document, space)
    for name, reason in space.untold().items():
        document.add(
            ("budgets", name) if name in space.budgets else ("objectives",), f"{name}: {reason}"
        )
    if not document.faults and random_values(space, random.Random(0)) is None:
        document.add(("forbid",), "forbids every recipe of the space; take a rule out")


def _check_families(document: _Document, space: Space) -> None:
    """Each family can be run by every target in some number format of the space."""
    for family in space.students:
        refusals = {refused_by_target(space, values) for values in _formats(space, family)}
        if None not in refusals:
            reason = sorted(str(r) for r in refusals)[0]
            document.add(
                ("students", family),
                f"no target combination runs it ({reason}); take the family, the format or the "
                "target out",
            )


def _formats(space: Space, family: str) -> Iterator[dict[str, Any]]:
    """Every choice of number formats, as axis values."""
    axes = {n: a for n, a in space.axes_of(family).items() if n.startswith("quantize.")}
    for chosen in itertools.product(*(axis.values_in_order() for axis in axes.values())):
        yield {"family": family, **dict(zip(axes, chosen, strict=True))}


def _rule_axes(space: Space) -> Iterator[tuple[str, Axis]]:
    """Axes by every name that a rule may call them."""
    yield "family", Choice(tuple(space.students))
    for family in space.students:
        for name, axis in space.axes_of(family).items():
            yield name, axis
            if name.startswith(f"{family}."):
                yield name.partition(".")[2], axis


def _with_absolute_paths(space: Space, folder: Path) -> Space:
    def absolute(path: str) -> str:
        return str((folder / os.path.expanduser(path)).resolve())

    data, teacher = space.data, space.teacher
    if data.train is not None and data.dev is not None:
        data = data.model_copy(
            update={
                "train": tuple(map(absolute, data.train)),
                "dev": tuple(map(absolute, data.dev)),
            }
        )
    update = {
        key: absolute(value)
        for key in ("checkpoint", "onnx", "tokens")
        if (value := getattr(teacher, key)) is not None
    }
    if teacher.huggingface and (folder / teacher.huggingface).exists():
        update["huggingface"] = absolute(teacher.huggingface)
    targets = {
        name: t if t.ca_file is None else t.model_copy(update={"ca_file": absolute(t.ca_file)})
        for name, t in space.targets.items()
    }
    gate = space.gate
    if gate.regression is not None:
        against = absolute(gate.regression.against)
        regression = gate.regression.model_copy(update={"against": against})
        gate = gate.model_copy(update={"regression": regression})
    return space.model_copy(
        update={
            "data": data,
            "teacher": teacher.model_copy(update=update),
            "targets": targets,
            "gate": gate,
        }
    )


__all__ = ["find_space", "load_space", "parse_space", "shipped_spaces"]
