"""`search gc` and `search cache`: what a home holds, and what of it can go."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from search.cli.common import home_of, open_store
from search.errors import UsageFault

if TYPE_CHECKING:
    from search.housekeeping.survey import Item

_YOUNG_S = 3600.0  # what is younger may be of work that is under way


@click.command("gc")
@click.option("--yes", is_flag=True, help="Remove it; without, only what would go is told.")
@click.option("--keep-all", is_flag=True, help="Keep the files of every measured trial.")
@click.option(
    "--budget-gb",
    type=click.FloatRange(0),
    help="Then also what can be made again, oldest first, until the home takes no more than this.",
)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def gc_command(
    ctx: click.Context, yes: bool, keep_all: bool, budget_gb: float | None, as_json: bool
) -> None:
    """Free the room of what no study needs: models that are on no front, checkpoints of stages that
    did not end, features and teacher's output that no study uses.

    What is reachable stays: front members, trials that are not finished, wait for a device, were
    stopped at a rung, or have a note or tag, and teachers. Results and figures of all trials stay
    in the record; `search retry TRIAL` makes the files of one anew. Nothing younger than an hour
    goes. Studies that are being run are an error.

    \b
    Examples:
      search gc                        what would go
      search gc --yes
      search gc --budget-gb 50 --yes
    """
    from search.housekeeping.plan import removals
    from search.housekeeping.survey import survey
    from search.housekeeping.uses import uses_of
    from search.study.lease import only_coordinator

    home = home_of(ctx)
    with open_store(ctx) as store, ExitStack() as held:
        for study in store.studies.all():
            lease = store.leases.find(study.name)
            if lease is not None and lease.holder is not None and study.state.is_live:
                raise UsageFault(f'study "{study.name}" is being run; stop it first: search stop')
            held.enter_context(only_coordinator(home, study.name))
        items = survey(home, uses_of(store, keep_all))
        going = removals(items, time.time() - _YOUNG_S, budget_gb)
        if yes:
            for item in going:
                item.remove()
    if as_json:
        _print_json(items, going, yes)
        return
    _print(items, going)
    freed = sum(item.size_bytes for item in going) / 1e6
    if not going:
        click.echo("nothing to remove")
    elif yes:
        click.echo(f"removed {len(going):,} items, {freed:,.1f} MB")
    else:
        click.echo(f"would remove {len(going):,} items, {freed:,.1f} MB; do it with --yes")


def _print(items: list[Item], going: list[Item]) -> None:
    gone = {item.path for item in going}
    rows: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0, 0.0])
    for item in items:
        at = 2 if item.path in gone else 0
        rows[item.kind][at] += 1
        rows[item.kind][at + 1] += item.size_bytes / 1e6
    click.echo(f"{'':16}{'stays':>18}{'goes':>20}")
    for kind, (n, size, n_gone, size_gone) in rows.items():
        click.echo(f"{kind:16}{n:6,.0f} {size:8,.1f} MB{n_gone:8,.0f} {size_gone:8,.1f} MB")


def _print_json(items: list[Item], going: list[Item], removed: bool) -> None:
    import json

    gone = {item.path for item in going}
    told = [
        {
            "kind": item.kind,
            "path": str(item.path),
            "size_mb": item.size_bytes / 1e6,
            "used_by": item.used_by,
            "goes": item.path in gone,
        }
        for item in items
    ]
    click.echo(json.dumps({"removed": removed, "items": told}, indent=1))


@click.command("cache")
@click.pass_context
def cache_command(ctx: click.Context) -> None:
    """What lies in the home, the biggest first, and what it is used for."""
    from search.housekeeping.survey import survey
    from search.housekeeping.uses import uses_of

    home = home_of(ctx)
    with open_store(ctx) as store:
        items = survey(home, uses_of(store))
    total: dict[str, float] = defaultdict(float)
    for item in items:
        total[item.kind] += item.size_bytes / 1e6
    for kind, size in sorted(total.items(), key=lambda of: -of[1]):
        click.echo(f"{kind:16}{size:10,.1f} MB")
    click.echo("")
    for item in sorted(items, key=lambda i: -i.size_bytes)[:20]:
        day = time.strftime("%Y-%m-%d", time.localtime(item.changed_at))
        used = item.used_by or "nothing uses it"
        click.echo(f"{item.size_bytes / 1e6:10,.1f} MB  {day}  {item.kind:14} {used}")
        click.echo(f"{'':15}{item.path}")
    click.echo("\nsearch gc removes what nothing uses")
