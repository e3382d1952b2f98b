"""`search front`: the students worth having."""

from __future__ import annotations

from pathlib import Path

import click

from search.cli.common import open_store, space_of, study_named
from search.errors import UsageFault


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
    """The Pareto front of a study: trials that nothing beats in every objective."""
    from rich.console import Console

    from search import tables
    from search.front import front, hypervolume, knee, meets, parse_where, reference_of

    with open_store(ctx) as store:
        study = study_named(store, name)
        trials = store.trials(study.id)
    space = space_of(study)
    on_front = front(space, trials, study.deterministic)
    bend = knee(space, on_front, study.deterministic)
    terms = parse_where(where) if where else []
    chosen = [t for t in (trials if everything else on_front) if meets(t, terms)]
    if plot is not None:
        _plot(Path(plot), study, space, trials, on_front)
    if as_csv:
        click.echo(tables.as_csv(chosen), nl=False)
    elif as_json:
        click.echo(tables.as_json(chosen))
    elif not chosen:
        click.echo("no such trial yet" if not terms else f"no trial meets {where}")
    else:
        title = f"{study.name}: {'trials' if everything else 'front'}"
        teacher = study.facts.get("teacher")
        Console().print(tables.front_table(space, chosen, bend, title, teacher))
        if teacher and not everything:
            share = hypervolume(
                space, trials, reference_of(space, trials, teacher), study.deterministic
            )
            click.echo(
                f"hypervolume {share:.3f} (1 is no errors at no cost, seen from the teacher)"
            )
        if study.deterministic:
            click.echo("deterministic study: timed objectives were compared by MACs")
    if plot is not None:
        click.echo(f"wrote {plot}", err=True)


def _plot(path: Path, study: object, space: object, trials: object, on_front: object) -> None:
    from search.plots import write_html, write_png

    writers = {".html": write_html, ".png": write_png}
    if path.suffix not in writers:
        raise UsageFault(f"--plot: {path} is neither .html nor .png")
    writers[path.suffix](path, study, space, trials, on_front)  # type: ignore[arg-type]
