"""`search db`: the database that holds the record: check it, bring it up to date, copy it."""

from __future__ import annotations

import click

from search.cli.common import home_of, open_store, progress_bar
from search.errors import UsageFault


@click.group("db")
def db_command() -> None:
    """Look after the database that holds the record of all studies.

    \b
    Examples:
      search db check
      search db copy postgresql://me@host/search
      search --store postgresql://me@host/search status
    """


@db_command.command("check")
@click.pass_context
def check_command(ctx: click.Context) -> int:
    """Open the store and say what it holds and whether it is sound. Exit code 1 where it is not."""
    from storage.inspection import inspected

    with open_store(ctx) as store:
        found = inspected(store)
    click.echo(f"{found.place}: {found.kind}, tables {found.version}")
    for name, count in found.rows.items():
        click.echo(f"  {name:<13}{count:>9,}")
    for fault in found.faults:
        click.echo(f"  ✗ {fault}")
    click.echo("sound" if not found.faults else f"{len(found.faults)} faults")
    return 1 if found.faults else 0


@db_command.command("upgrade")
@click.pass_context
def upgrade_command(ctx: click.Context) -> None:
    """Bring the tables up to date. Every command does so when it opens the store; this one for
    whoever wants it done beforehand, by an account that may."""
    from storage.inspection import inspected, version_before

    before = version_before(home_of(ctx).store_url)
    with open_store(ctx) as store:
        now = inspected(store).version
    click.echo(f"tables are {now}" + ("" if before == now else f" (they were {before or 'none'})"))


@db_command.command("copy")
@click.argument("target", metavar="URL")
@click.pass_context
def copy_command(ctx: click.Context, target: str) -> None:
    """Copy all studies into an empty store: sqlite:///file or postgresql://user@host/name.
    Artifacts stay where they are."""
    from search.home import Home
    from storage.store import Store
    from storage.transfer import copied

    home = home_of(ctx)
    if Home.at(home.folder, target).store_url == home.store_url:
        raise UsageFault(f"{target}: is the store that is copied from")
    with open_store(ctx) as source, progress_bar() as progress:
        other = Store(target)
        try:
            counts = copied(source, other, progress)
        finally:
            other.close()
    listed = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    click.echo(f"copied {listed or 'nothing: there are no studies'}")
    click.echo("use it with --store URL (or the variable SEARCH_STORE), and the same --home")
