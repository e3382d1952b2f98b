"""Which student to ship, in words, before what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd

    from search.analysis.answer import Answer
    from search.analysis.pick import Limit
    from storage.records import Study


def print_answer(
    study: Study,
    frame: pd.DataFrame,
    limits: Sequence[Limit] = (),
    target: str = "",
    others: Sequence[str] = (),
) -> Answer | None:
    """The answer, what others would bring, and the rule; nothing where no trial is within.

    Args:
        target: whose figures count; the first of the space by default.
        others: targets whose answers are told in a line each, where they have one.
    """
    from search.analysis.answer import answer_of
    from search.report.answer import answer_line, others_line, rule_line, settled_line

    answer = answer_of(frame, limits, target)
    if answer is None:
        return None
    click.secho(answer_line(answer), bold=True)
    click.echo(f"  {others_line(answer)}")
    n_left = study.trials_wanted - int(frame["finished_at"].notna().sum())
    if n_left > 0 and study.state.is_live:
        click.echo(f"  {settled_line(answer, n_left)}")
    click.echo(f"  {rule_line(answer)}")
    for other in others:
        if (there := answer_of(frame, limits, other)) is not None:
            click.secho(answer_line(there), bold=True)
    return answer
