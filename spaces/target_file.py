"""Reads a file of targets: for a study that is there already, to be measured on them as well."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from spaces.checks import unknown
from spaces.document import Document, parse_yaml
from spaces.errors import Fault, SpaceError
from spaces.files import why_not_a_file
from spaces.load import read_text, with_absolute_ca_files
from spaces.messages import report_fault
from spaces.record import Record
from spaces.space import Space, Target, check_target_names

_FORMS = "write targets: as in a space, or the settings of one target with its name:"


class _TargetFile(Record):
    targets: dict[str, Target] = Field(min_length=1)

    _names = field_validator("targets")(check_target_names)


def load_targets(path: str | Path) -> dict[str, Target]:
    """The targets of a file by name: its `targets:`, or one target with its `name:`.

    A space file will do; what else it says is not read.

    Raises:
        SpaceError: listing every fault with its line.
    """
    found = Path(path)
    if why := why_not_a_file(found):
        raise SpaceError(path, [Fault(0, "", why)])
    document = parse_yaml(read_text(found), path)
    if "targets" not in document.sections and not _wrap(document):
        raise SpaceError(path, [Fault(0, "", f"names no target; {_FORMS}")])
    for key in document.sections:
        if key not in Space.model_fields:
            document.add((key,), unknown(str(key), ["targets"], "key"))
    targets = _validated(document)
    if document.faults or targets is None:
        raise SpaceError(path, document.faults)
    return with_absolute_ca_files(targets, found.resolve().parent)


def _wrap(document: Document) -> bool:
    """Read the settings of one target, with its name among them, as `targets:`; False where it has
    no name."""
    settings = dict(document.sections)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        return False
    document.sections = {"targets": {name: settings}}
    document.lines = {("targets", name, *loc): line for loc, line in document.lines.items()}
    return True


def _validated(document: Document) -> dict[str, Target] | None:
    try:
        return _TargetFile.model_validate({"targets": document.sections.get("targets")}).targets
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            report_fault(document, detail)
    return None
