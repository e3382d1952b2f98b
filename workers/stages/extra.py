"""Extra: a stage of another package, on the exported student.

Its module has `run(job, context)`, which gives an `ExtraResult`; a space asks for it by name in
`stages:`. CONTRIBUTING.md has an example.
"""

from __future__ import annotations

from spaces.extensions import STAGES
from workers.jobs import Extra
from workers.results import ExtraResult
from workers.stages.context import StageContext


def run(job: Extra, context: StageContext) -> ExtraResult:
    """Let the stage of that name do its work.

    Raises:
        UnknownName: when its package is not installed here.
    """
    result: ExtraResult = STAGES[job.name].run(job, context)
    return result
