"""`search verify`: whether a bundle is what it promises to be."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.cli.common import home_of, progress_bar
from search.errors import UsageFault

if TYPE_CHECKING:
    from search.bundle.verify import Row, Verification


@click.command("verify")
@click.argument("bundle", type=click.Path())
@click.argument("lists", nargs=-1, type=click.Path())
@click.option("--digest", help="That the bundle is to have, as `search export` told it.")
@click.option("--no-times", is_flag=True, help="Check files, sizes and errors only.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def verify_command(
    ctx: click.Context,
    bundle: str,
    lists: tuple[str, ...],
    digest: str | None,
    no_times: bool,
    as_json: bool,
) -> int:
    """Measure a bundle again, here, and say figure by figure whether its promise holds: files by
    their digests, sizes, word errors on the dev set (its lists are given; the embedded corpus is
    spoken anew), and times, where this is the kind of machine that they were taken on.

    The exit code is 0 if it is what it promises to be (of 95 % intervals one in twenty may miss),
    1 if not, and 2 if it was changed.

    \b
    Examples:
      search verify student.zip dev.jsonl
      search verify student.zip --digest 3f9a…
    """
    from search.bundle.verify import manifest_digest, verify

    for given in lists:
        if not Path(given).exists():
            raise UsageFault(f"{given}: no such list")
    found = manifest_digest(Path(bundle))
    if digest is not None and not _is_digest(digest, found):
        raise UsageFault(
            f"{bundle}: its digest is {found}, not {digest}: it is another bundle, or was changed"
        )
    workspace = home_of(ctx).workspace()
    with progress_bar() as progress:
        told = verify(
            Path(bundle),
            lists,
            workspace.cache,
            workspace.locks,
            progress,
            is_timed=not no_times,
        )
    click.echo(_as_json(told) if as_json else "\n".join(_lines(told)))
    if not as_json:
        _print(told)
    return 0 if told.is_kept else 1


def _is_digest(given: str, found: str) -> bool:
    given = given.lower().removeprefix("sha256:").rstrip("…")
    return len(given) >= 8 and hmac.compare_digest(found[: len(given)], given)


def _lines(told: Verification) -> list[str]:
    n_other = len(told.rows) - told.n_checked
    kept = "it is what it promises to be" if told.is_kept else "it is NOT what it promises to be"
    more = f"; {n_other} were not checked" if n_other else ""
    return [
        f"digest {told.digest}: every file is the one that it was made with",
        f"{told.n_held} of {told.n_checked} promised figures hold here{more}: {kept}",
        *told.notes,
    ]


def _print(told: Verification) -> None:
    from rich.console import Console
    from rich.table import Table

    from search.report.labels import format_metric

    table = Table("figure", "promised", "95 %", "here", "")
    for row in told.rows:
        p = row.promise
        between = f"{format_metric(p.metric, p.low)} to {format_metric(p.metric, p.high)}"
        table.add_row(
            p.metric,
            format_metric(p.metric, p.value),
            "exact" if p.low == p.high else between,
            "–" if row.measured is None else format_metric(p.metric, row.measured),
            _verdict(row),
        )
    Console().print(table)


def _verdict(row: Row) -> str:
    if row.holds is None:
        return row.why_not
    return "holds" if row.holds else "BROKEN"


def _as_json(told: Verification) -> str:
    rows = [
        {
            "metric": row.promise.metric,
            "promised": row.promise.value,
            "low": row.promise.low,
            "high": row.promise.high,
            "measured": row.measured,
            "holds": row.holds,
            "why_not": row.why_not,
        }
        for row in told.rows
    ]
    content = {"digest": told.digest, "kept": told.is_kept, "figures": rows, "notes": told.notes}
    return json.dumps(content, indent=1)
