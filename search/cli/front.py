"""`search front`: the students worth having."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.cli.common import check_output, open_store, space_of, study_named
from search.errors import UsageFault

if TYPE_CHECKING:
    import pandas as pd

    from spaces.space import Space
    from storage.records import Study, Trial


@click.command("front")
@click.argument("name", metavar="[STUDY]", required=False)
@click.option("--where", help='Only those, e.g. "size_mb<=15 and latency_p95_ms<=50".')
@click.option("--all", "everything", is_flag=True, help="All trials, not only the front.")
@click.option("--csv", "as_csv", is_flag=True)
@click.option("--json", "as_json", is_flag=True)
@click.option(
    "--plot", type=click.Path(dir_okay=False), help="Write a chart: .html (interactive) or .png."
)
@click.pass_context
def front_command(
    ctx: click.Context,
    name: str | None,
    where: str | None,
    everything: bool,
    as_csv: bool,
    as_json: bool,
    plot: str | None,
) -> None:
    """Which student to ship, and the Pareto front of a study: trials that more likely than not
    nothing beats in every objective. Word errors are drawn anew over dev; times that their
    intervals do not tell apart are ties. Sure is who is on the front in 95 % of the draws."""
    from search.analysis.elsewhere import lines_on, targets_asked
    from search.analysis.front import front_numbers
    from search.analysis.pick import fits, nearest_misses, parse_where
    from search.analysis.trial_frame import trial_frame
    from search.cli.answer import print_answer
    from search.policy import policy_of
    from search.report.export import as_csv as in_csv
    from search.report.tables import as_json as in_json

    if as_csv and as_json:
        raise UsageFault("--csv and --json: choose one")
    if plot is not None:
        check_output(Path(plot))
    with open_store(ctx) as store:
        study = study_named(store, name)
        trials = store.trials.of(study.id)
    space, policy = space_of(study), policy_of(study.deterministic)
    frame = trial_frame(trials, study, space)
    limits = parse_where(where) if where else []
    on_front = front_numbers(frame, space.objectives, policy)
    candidates = frame["number"].tolist() if everything else on_front
    fitting = set(frame.loc[fits(frame, limits), "number"])
    chosen = [n for n in candidates if n in fitting]
    chances = dict(zip(frame["number"], frame["front_chance"], strict=True))
    by_number = {t.number: t for t in trials}
    best = [by_number[n] for n in chosen]
    if plot is not None:
        _plot(Path(plot), study, space, frame)
    if as_csv:
        rows = frame.set_index("number", drop=False).loc[chosen]
        click.echo(in_csv(rows.rename(columns={"number": "trial"})), nl=False)
    elif as_json:
        click.echo(in_json(best, chances))
    else:
        print_answer(study, frame, limits, others=list(space.targets)[1:])
        if best:
            _print_front(study, space, frame, best, everything)
        elif limits:
            who = "trial" if everything else "trial of the front"
            click.echo(f"no {who} meets {where} ({'; '.join(nearest_misses(frame, limits))})")
        else:
            click.echo("no such trial yet")
        for line in lines_on(frame, targets_asked(limits)):
            click.echo(line)


def _print_front(
    study: Study, space: Space, frame: pd.DataFrame, best: list[Trial], everything: bool
) -> None:
    from rich.console import Console

    from search.analysis.elsewhere import times_on
    from search.analysis.front import knee_number
    from search.policy import policy_of
    from search.report.tables import front_table

    chances = dict(zip(frame["number"], frame["front_chance"], strict=True))
    title = f"{study.name}: {'trials' if everything else 'front'}"
    knee = knee_number(frame, space.objectives, policy_of(study.deterministic))
    further = times_on(frame, study.added_targets)
    table = front_table(space, best, knee, title, study.teacher_metrics, chances, further)
    Console().print(table)
    _print_notes(study, space, frame, everything)


def _print_notes(study: Study, space: Space, frame: pd.DataFrame, everything: bool) -> None:
    from search.analysis.front import hypervolume, reference_point

    if study.teacher_metrics and not everything:
        reference = reference_point(frame, space.objectives, study.teacher_metrics)
        share = hypervolume(frame, space.objectives, reference)
        click.echo(f"hypervolume {share:.3f} (1 is no errors at no cost, seen from the teacher)")
    if study.deterministic:
        click.echo("deterministic study: timed objectives were compared by MACs")


def _plot(path: Path, study: Study, space: Space, frame: pd.DataFrame) -> None:
    """Write a chart, by the ending of its name."""
    from search.report.front_charts import front_figures
    from search.report.page import write_front
    from search.report.png import write_png

    if path.suffix == ".html":
        write_front(path, study, space, frame)
    elif path.suffix == ".png":
        title = f"{study.name}: front (large) and other trials"
        write_png(path, front_figures(study, space, frame), title)
    else:
        raise UsageFault(f"--plot: {path} is neither .html nor .png")
    click.echo(f"wrote {path}", err=True)
