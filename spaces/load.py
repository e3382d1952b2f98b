"""Reads a space file whole: all its faults in one message, each with its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from spaces.axes import Axis, AxisError, parse_axis
from spaces.errors import Fault, SpaceError
from spaces.families import FAMILIES
from spaces.metrics import metric_named
from spaces.points import breaks_rule, grid, random_values
from spaces.recipe import PARTS
from spaces.space import Space, parse_budget

SHIPPED_FOLDER = Path(__file__).parent
_MAX_BYTES = 1_000_000

Loc = tuple[str | int, ...]


@dataclass
class _Document:
    """Parsed YAML with the line of every key."""

    content: Any
    lines: dict[Loc, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line_of(self, loc: Loc) -> int:
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 1)

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
    try:
        raw = found.read_bytes()
    except OSError as error:
        raise SpaceError(found, [Fault(0, "", f"cannot be read: {error.strerror}")]) from error
    if len(raw) > _MAX_BYTES:
        raise SpaceError(found, [Fault(0, "", f"is {len(raw):,} bytes: no space file")])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SpaceError(found, [Fault(line, "", "is not UTF-8 text")]) from error
    return parse_space(text, found)


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
    _check_budgets(document)
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
        raise SpaceError(path, [Fault(line, "", f"is not YAML: {error.problem}")]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "nested too deeply"
        raise SpaceError(path, [Fault(1, "", f"is not YAML: {reason}")]) from error
    document = _Document(content)
    if node is not None:
        _walk(node, (), document, set())
    return document


def _walk(node: yaml.Node, loc: Loc, document: _Document, open_nodes: set[int]) -> None:
    document.lines.setdefault(loc, node.start_mark.line + 1)
    if id(node) in open_nodes:
        document.add(loc, "refers to itself")
        return
    open_nodes = open_nodes | {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            child = (*loc, str(key.value))
            if child in document.lines:
                document.faults.append(
                    Fault(key.start_mark.line + 1, ".".join(map(str, child)), "is given twice")
                )
            document.lines[child] = key.start_mark.line + 1
            _walk(value, child, document, open_nodes)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _walk(value, (*loc, i), document, open_nodes)


def _check_students(document: _Document) -> None:
    """Each family known, each axis a dimension of it, each bound a legal value."""
    students = document.content.get("students")
    if not isinstance(students, dict):
        return
    for family, axes in list(students.items()):
        loc: Loc = ("students", str(family))
        if family not in FAMILIES:
            document.add(loc, _unknown(str(family), list(FAMILIES), "student family"))
            del students[family]
            continue
        if axes is None:
            students[family] = axes = {}
        if not isinstance(axes, dict):
            document.add(loc, "holds the axes of the family, one a line: `channels: [64, 128]`")
            del students[family]
            continue
        dims = {k: f for k, f in FAMILIES[family].model_fields.items() if k != "family"}
        for name, raw in list(axes.items()):
            if name not in dims:
                document.add((*loc, str(name)), _unknown(str(name), list(dims), "axis"))
                del axes[name]
                continue
            _check_axis(document, (*loc, name), raw, FAMILIES[family])


def _check_axis(document: _Document, loc: Loc, raw: object, record: type[BaseModel]) -> None:
    try:
        axis = parse_axis(raw)
    except AxisError:
        return  # reported with its line by the validation of the whole
    for value in _bounds(axis):
        try:
            record.model_validate({loc[-1]: value})
        except ValidationError as error:
            document.add(loc, f"{value!r}: {error.errors()[0]['msg'].lower()}")
            return
    if loc[-1] == "kernel" and any(int(v) % 2 == 0 for v in grid(axis)):
        document.add(loc, "a kernel is an odd number of frames (with a range: odd low, step 2)")


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


def _validate(document: _Document) -> Space | None:
    try:
        return Space.model_validate(document.content)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _report(document, detail)
    return None


def _report(document: _Document, detail: Any) -> None:
    loc = _clean(detail["loc"], document)
    if detail["type"] == "extra_forbidden":
        known = _known_keys(loc[:-1])
        document.add(loc, _unknown(str(loc[-1]), known, "key"))
    elif detail["type"] == "missing":
        document.add(loc, "is missing")
    else:
        message = detail["msg"].removeprefix("Value error, ")
        given = detail.get("input")
        if isinstance(given, str | int | float | bool) and repr(given) not in message:
            message = f"{given!r}: {message[0].lower()}{message[1:]}"
        document.add(loc, message)


def _clean(loc: Loc, document: _Document) -> Loc:
    """Drop the names that pydantic adds for the members of a union."""
    out: Loc = ()
    for step in loc:
        if step in FAMILIES and (*out, step) not in document.lines:
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
    known = set(_rule_keys(space))
    for i, rule in enumerate(space.forbid):
        for key in rule:
            if key not in known:
                document.add(("forbid", i, key), _unknown(key, sorted(known), "axis"))
    if not document.faults and random_values(space, __import__("random").Random(0)) is None:
        document.add(("forbid",), "forbids every recipe of the space")


def _rule_keys(space: Space) -> Iterator[str]:
    yield "family"
    for family in space.students:
        for name in space.axes_of(family):
            yield name
            if name.startswith(f"{family}."):
                yield name.partition(".")[2]


def _with_absolute_paths(space: Space, folder: Path) -> Space:
    def absolute(path: str) -> str:
        return str((folder / Path(path).expanduser()).resolve())

    data, teacher = space.data, space.teacher
    if data.train is not None and data.dev is not None:
        data = data.model_copy(
            update={"train": tuple(map(absolute, data.train)), "dev": tuple(map(absolute, data.dev))}
        )
    update = {
        key: absolute(value)
        for key in ("checkpoint", "onnx", "tokens")
        if (value := getattr(teacher, key)) is not None
    }
    if teacher.huggingface and (folder / teacher.huggingface).exists():
        update["huggingface"] = absolute(teacher.huggingface)
    return space.model_copy(update={"data": data, "teacher": teacher.model_copy(update=update)})


__all__ = ["PARTS", "breaks_rule", "find_space", "load_space", "parse_space", "shipped_spaces"]
