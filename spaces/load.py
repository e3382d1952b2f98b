"""Reads a space file whole: all its faults in one message, each with its line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from spaces.checks import (
    check_budgets,
    check_rules,
    check_sections,
    check_students,
    check_targets,
    unknown,
)
from spaces.document import Document, parse_yaml
from spaces.errors import Fault, SpaceError
from spaces.files import why_not_a_file
from spaces.messages import report_fault
from spaces.space import Space, Target, TeacherSource
from spaces.space.like import LIKE, taken_over

_TO_GO_ON = "edge"
SHIPPED_FOLDER = Path(__file__).parent
_TEACHERS = SHIPPED_FOLDER / "teachers"
_MAX_BYTES = 1_000_000


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
    what = why_not_a_file(path)
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


def stored_text(text: str, path: str | Path) -> str:
    """The text as a study keeps it: what `like:` takes over is in it, whatever is shipped later."""
    document = parse_yaml(text, path)
    if LIKE not in document.sections:
        return text
    _take_over(document)
    return yaml.safe_dump(document.sections, sort_keys=False, allow_unicode=True)


def parse_space(text: str, path: str | Path, folder: Path | None = None) -> Space:
    """Validate the text of a space file; `path` is used in messages.

    Raises:
        SpaceError: listing every fault with its line.
    """
    document = parse_yaml(text, path)
    _take_over(document)
    check_students(document)
    check_sections(document)
    check_budgets(document)
    check_targets(document)
    space = _validate(document)
    if space is not None:
        check_rules(document, space)
    if document.faults or space is None:
        raise SpaceError(path, document.faults)
    return _with_absolute_paths(space, folder or Path(path).resolve().parent)


def _take_over(document: Document) -> None:
    """With `like:`, what the file does not say is as a shipped space has it."""
    if LIKE not in document.sections:
        return
    name, shipped = document.sections.pop(LIKE), shipped_spaces()
    if not isinstance(name, str) or name not in shipped:
        document.add((LIKE,), unknown(str(name), list(shipped), "shipped space"))
        name = _TO_GO_ON  # so that nothing is told to be missing that is not
    other = parse_yaml(read_text(shipped[name]), shipped[name])
    document.sections.update(taken_over(document.sections, other.sections))


def _validate(document: Document) -> Space | None:
    try:
        return Space.model_validate(document.sections)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            report_fault(document, detail)
    return None


def _with_absolute_paths(space: Space, folder: Path) -> Space:
    def absolute(path: str) -> str:
        return _absolute(path, folder)

    data, teacher = space.data, space.teacher
    splits = {
        name: tuple(map(absolute, paths))
        for name in ("train", "dev", "test", "unlabelled")
        if (paths := getattr(data, name)) is not None
    }
    data = data.model_copy(update=splits)
    gate = space.gate
    if gate.regression is not None:
        against = absolute(gate.regression.against)
        regression = gate.regression.model_copy(update={"against": against})
        gate = gate.model_copy(update={"regression": regression})
    return space.model_copy(
        update={
            "data": data,
            "teacher": _absolute_teacher(teacher, folder),
            "targets": with_absolute_ca_files(space.targets, folder),
            "gate": gate,
        }
    )


def _absolute_teacher(teacher: TeacherSource, folder: Path) -> TeacherSource:
    update: dict[str, object] = {
        key: _absolute(value, folder)
        for key in ("checkpoint", "onnx", "waveform", "tokens", "sherpa")
        if (value := getattr(teacher, key)) is not None
    }
    if teacher.checkpoint is not None and not Path(str(update["checkpoint"])).exists():
        update["checkpoint"] = str(_shipped_teacher(teacher.checkpoint) or update["checkpoint"])
    if teacher.huggingface and (folder / teacher.huggingface).exists():
        update["huggingface"] = _absolute(teacher.huggingface, folder)
    if teacher.command and os.sep in teacher.command[0]:
        # not resolved: what a link is called is what a virtual environment goes by
        program = os.path.abspath(folder / os.path.expanduser(teacher.command[0]))
        update["command"] = (program, *teacher.command[1:])
    if teacher.also:
        update["also"] = tuple(_absolute_teacher(other, folder) for other in teacher.also)
    return teacher.model_copy(update=update)


def _shipped_teacher(name: str) -> Path | None:
    """The checkpoint of that name that comes with the package, if one does."""
    path = _TEACHERS / name
    return path if Path(name).name == name and path.is_file() else None


def with_absolute_ca_files(targets: Mapping[str, Target], folder: Path) -> dict[str, Target]:
    """Targets whose certificate authorities are found from anywhere.

    Args:
        folder: where their paths begin.
    """
    return {
        name: t.model_copy(update={"ca_file": _absolute(t.ca_file, folder)}) if t.ca_file else t
        for name, t in targets.items()
    }


def _absolute(path: str, folder: Path) -> str:
    return path if "://" in path else str((folder / os.path.expanduser(path)).resolve())
