"""Whether students can begin as a part of the teacher, where a space says that they may."""

from __future__ import annotations

from search.errors import UsageFault
from spaces.space import Space


def check_start(space: Space) -> None:
    """Only a network of this program has parts that students can begin as.

    Raises:
        UsageFault: for another teacher.
    """
    teacher = space.teacher
    is_ours = teacher.train is not None or teacher.checkpoint is not None
    if "teacher" in space.training.start.values_in_order() and not is_ours:
        raise UsageFault(
            f"training.start: teacher: a teacher of the kind {teacher.kind}: is no network of this "
            "program, of which students could be parts; take it out"
        )
