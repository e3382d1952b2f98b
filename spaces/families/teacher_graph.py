"""The teacher's own graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from spaces.families.base import Dims


class TeacherGraph(Dims):
    """The teacher's own graph, as it is or in fewer bits: nothing of it is trained."""

    family: Literal["teacher"] = "teacher"

    network: ClassVar[str] = ""
    is_trained: ClassVar[bool] = False
    capacity: ClassVar[frozenset[str]] = frozenset()
    prunable: ClassVar[Mapping[str, int]] = {}

    def label(self) -> str:
        return self.family
