"""Check teacher: can the network that the user brings be loaded?"""

from __future__ import annotations

from workers.jobs import CheckTeacher
from workers.results import CheckTeacherResult
from workers.stages.context import StageContext
from workers.teachers.load import load_teacher


def run(job: CheckTeacher, _context: StageContext) -> CheckTeacherResult:
    """Load it.

    Raises:
        TeacherFault: saying what is wrong with it.
    """
    load_teacher(job.source)
    return CheckTeacherResult()
