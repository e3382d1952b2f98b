"""`search report`: one page to share."""

from __future__ import annotations

from pathlib import Path

import click

from search.cli.common import check_output, open_store, space_of, study_named
from search.errors import UsageFault


@click.command("report")
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False))
@click.option("--study", "name", help="Needed when there are several.")
@click.option("--overwrite", is_flag=True)
@click.pass_context
def report_command(ctx: click.Context, target: str, name: str | None, overwrite: bool) -> None:
    """Write one self-contained page (OUT.html) with front, tables and recipes, or all figures as
    OUT.csv or OUT.parquet.

    \b
    Examples:
      search report edge.html
      search report --study edge trials.parquet
    """
    path = Path(target)
    check_output(path, overwrite)
    if path.suffix not in (".html", ".csv", ".parquet"):
        raise UsageFault(f"{path}: a report ends in .html, .csv or .parquet")
    from search.analysis.trial_frame import study_frame
    from search.report.export import as_csv, as_parquet
    from search.report.page import write_report

    with open_store(ctx) as store:
        study = study_named(store, name)
        space = space_of(study)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".html":
            write_report(path, store, study, space)
        elif path.suffix == ".csv":
            path.write_text(as_csv(study_frame(store, study, space)), encoding="utf-8")
        else:
            path.write_bytes(as_parquet(study_frame(store, study, space)))
    click.echo(f"{study.name}: wrote {path}")
