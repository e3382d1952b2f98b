"""A YAML file with the line of every key, so that each fault can be told with its line.

ruamel.yaml keeps lines as well, but brings types of its own into every value; the node tree of
PyYAML needs no more than the walk below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import JsonValue

from spaces.errors import Fault, SpaceError

_MAX_VALUES = 100_000

Loc = tuple[str | int, ...]


@dataclass
class Document:
    """The keys of a YAML file with the line of each, and what is wrong with them."""

    sections: dict[str, JsonValue]
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line_of(self, loc: Loc) -> int:
        steps = tuple(map(str, loc))
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return self.lines.get(steps, 1)

    def add(self, loc: Loc, message: str) -> None:
        self.faults.append(Fault(self.line_of(loc), ".".join(map(str, loc)), message))


def parse_yaml(text: str, path: str | Path) -> Document:
    """Read a file that is a mapping of keys.

    Raises:
        SpaceError: when it is anything else.
    """
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
    document = Document(content if isinstance(content, dict) else {})
    if not isinstance(content, dict):
        document.faults.append(Fault(1, "", "is not a mapping of keys such as name:, data:, …"))
        raise SpaceError(path, document.faults)
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


def _walk(node: yaml.Node, loc: tuple[str, ...], document: Document, open_nodes: set[int]) -> None:
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
