"""What a space asks of training that only its teacher's file, or the way it is launched, tells
whether it can be had."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from search.errors import UsageFault
from spaces.families import Dims, parse_dims
from spaces.space import Space
from workers.checkpoint_header import read_header


def check_start(space: Space) -> None:
    """Only a network of this program has parts that students can begin as, and none wider than
    itself.

    Raises:
        UsageFault: for another teacher, or wider students.
    """
    teacher = space.teacher
    if "teacher" not in space.training.start.values_in_order():
        return
    if teacher.train is None and teacher.checkpoint is None:
        raise UsageFault(
            f"training.start: teacher: a teacher of the kind {teacher.kind}: is no network of this "
            "program, of which students could be parts; take it out"
        )
    dims = _dims_of_teacher(space)
    if dims is None or dims.family not in space.students:
        return
    if dims.widths:
        raise UsageFault(
            "training.start: teacher: it was pruned over all groups at once, and has no part of "
            "one width that a student could begin as; take it out"
        )
    for name in dims.prunable:
        axis = space.students[dims.family].get(name)
        largest = None if axis is None else max(int(v) for v in axis.values_in_order())
        if largest is not None and largest > getattr(dims, name):
            raise UsageFault(
                f"training.start: teacher: students.{dims.family}.{name} goes up to {largest}, the "
                f"teacher has {getattr(dims, name)}: none is a part of it that is wider"
            )


def check_repeatable(space: Space) -> None:
    """A search that shall come to the same again decides nothing by what it measures.

    Raises:
        UsageFault: where measured times decide what is pruned.
    """
    if "time" in space.prune.scope.values_in_order():
        raise UsageFault(
            "prune.scope: time: what is pruned would follow from measured times, which differ from "
            "run to run; take it out for --deterministic"
        )


def _dims_of_teacher(space: Space) -> Dims | None:
    """None where its file cannot be read, which is told elsewhere."""
    if space.teacher.train is not None:
        return space.teacher.train.student
    try:
        return parse_dims(read_header(Path(str(space.teacher.checkpoint))).get("dims"))
    except (OSError, ValueError, ValidationError, PydanticCustomError):
        return None
