"""`search gc` and `search cache`: what a home holds, and what of it can go."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.cli.common import home_of, open_store
from search.clock import SYSTEM_CLOCK
from search.errors import UsageFault
from search.home import Home
from storage.database import shown_url, sqlite_file

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
@click.option(
    "--other-store",
    is_flag=True,
    help="This is the only store that matters, though the home has another, or its artifacts "
    "lie elsewhere.",
)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def gc_command(
    ctx: click.Context,
    yes: bool,
    keep_all: bool,
    budget_gb: float | None,
    other_store: bool,
    as_json: bool,
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
    from search.study.launch import HEARTBEAT
    from search.study.lease import holding, only_coordinator

    home = home_of(ctx)
    with open_store(ctx) as store, ExitStack() as held:
        _check_alone(home, other_store)
        for study in store.studies.all():
            held.enter_context(only_coordinator(home, study.name))
            held.enter_context(holding(store, home, study.name, SYSTEM_CLOCK, HEARTBEAT))
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


def _check_alone(home: Home, is_meant: bool) -> None:
    """What only another store knows of would go.

    Raises:
        UsageFault: when there may be one.
    """
    own = home.folder / "store.sqlite"
    if is_meant:
        return
    if own.exists() and sqlite_file(home.store_url) != own:
        raise UsageFault(
            f"{own}: is another store of this home, whose studies would lose their files; look at "
            "each by itself, or say --other-store if it is of no use any more"
        )
    if "://" not in home.artifacts_url and home.folder not in Path(home.artifacts_url).parents:
        raise UsageFault(
            f"{home.artifacts_url}: artifacts that lie outside the home may be of other homes as "
            "well; say --other-store if they are not"
        )
    stores = home.folder / "locks" / "stores"
    named = stores.read_text().splitlines() if stores.is_file() else []
    if any(url != shown_url(home.store_url) for url in named):
        raise UsageFault(
            f"this home was used with the stores {', '.join(named)}; what only another one knows "
            "of would go; give --store, or say --other-store"
        )


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
