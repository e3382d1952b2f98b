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
_MAX_DIGITS = 100
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

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
    document = Document({})
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            _Walk(document).visit(node, (), frozenset())
        # Only now: merging (<<) copies what it names, so it has to be known to end.
        content = None if node is None else loader.construct_document(node)
    except _Unusable as error:
        raise SpaceError(path, [Fault(error.line, ".".join(error.loc), str(error))]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SpaceError(path, [Fault(line, "", f"is not YAML: {_reason(error)}")]) from error
    except RecursionError as error:
        raise SpaceError(path, [Fault(1, "", "is not YAML: nested too deeply")]) from error
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise SpaceError(path, [Fault(1, "", f"is not YAML: {reason}")]) from error
    if not isinstance(content, dict):
        document.faults.append(Fault(1, "", "is not a mapping of keys such as name:, data:, …"))
        raise SpaceError(path, document.faults)
    document.sections = content
    return document


def _reason(error: yaml.MarkedYAMLError) -> str:
    reason = ", ".join(part for part in (error.context, error.problem) if part)
    return reason + "; indent with spaces, not tabs" * ("'\\t'" in reason)


class _Unusable(Exception):
    """Something that must not even be made into values."""

    def __init__(self, message: str, line: int, loc: tuple[str, ...]) -> None:
        super().__init__(message)
        self.line, self.loc = line, loc


class _Walk:
    """Goes over every value, as often as aliases repeat it, and notes the line of every key."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._n_visits = 0

    def visit(self, node: yaml.Node, loc: tuple[str, ...], above: frozenset[int]) -> None:
        """Note the lines of a value and of all within it.

        Raises:
            _Unusable: for aliases without end, numbers without end, and keys that are no words.
        """
        lines = self._document.lines
        line = lines.setdefault(loc, node.start_mark.line + 1)
        self._n_visits += 1
        if id(node) in above:
            raise _Unusable("refers to itself; write the values out", line, loc)
        if self._n_visits > _MAX_VALUES:
            count = f"its aliases stand for more than {_MAX_VALUES:,} values"
            raise _Unusable(f"{count}; write the values out", lines.get(loc[:1], line), loc[:1])
        above = above | {id(node)}
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self.visit(value, self._child(key, loc), above)
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                self.visit(value, (*loc, str(i)), above)
        else:
            _check_number(node, loc)

    def _child(self, key: yaml.Node, loc: tuple[str, ...]) -> tuple[str, ...]:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise _Unusable("holds a list or a mapping where a key should be", line, loc)
        _check_number(key, loc)
        child = (*loc, str(key.value))
        if child in self._document.lines:
            self._document.faults.append(Fault(line, ".".join(child), "is given twice"))
        self._document.lines[child] = line
        return child


def _check_number(node: yaml.Node, loc: tuple[str, ...]) -> None:
    if node.tag in _NUMBERS and len(node.value) > _MAX_DIGITS:
        text = f"is a number of {len(node.value):,} characters; write a smaller one"
        raise _Unusable(text, node.start_mark.line + 1, loc)
