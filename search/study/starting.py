"""Whether students can begin as a part of the teacher, where a space says that they may."""

from __future__ import annotations

from pathlib import Path

from search.errors import UsageFault
from spaces.points import refusal
from spaces.space import Space
from workers.checkpoint_header import read_header


def check_start(space: Space) -> None:
    """A teacher has parts of its own family only.

    Raises:
        UsageFault: when students of another family would begin as parts of it.
    """
    if "teacher" not in space.training.start.values_in_order():
        return
    teacher = space.teacher
    if teacher.checkpoint is not None and not Path(teacher.checkpoint).is_file():
        return  # told elsewhere
    family = _family(space)
    if family is None:
        raise UsageFault(
            f"training.start: teacher: a teacher of the kind {teacher.kind}: is no network of this "
            "program, of which students could be parts; take it out"
        )
    for other in space.trained_families:
        if "training.start" not in space.axes_of(other):
            continue
        begins = {"family": other, "training.start": "teacher"}
        if other != family and refusal(space, begins) is None:
            raise UsageFault(
                f"training.start: teacher: it is a {family}, of which a {other} is no part; "
                f"forbid it: `- {{family: {other}, training.start: teacher}}`"
            )


def _family(space: Space) -> str | None:
    """Of a teacher that is a network of ours."""
    if space.teacher.train is not None:
        return space.teacher.train.student.family
    if space.teacher.checkpoint is None:
        return None
    dims = read_header(Path(space.teacher.checkpoint)).get("dims")
    return str(dims.get("family")) if isinstance(dims, dict) else None
