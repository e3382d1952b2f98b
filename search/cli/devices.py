"""`search devices`: list, check and calibrate the devices of a space."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from search.cli.common import (
    agree_to_hosts,
    home_of,
    open_store,
    space_of,
    study_named,
    yes_option,
)

if TYPE_CHECKING:
    from spaces.space import Space

_SPACE = click.option("--space", "path", help="A space file, or a shipped space by name.")
_STUDY = click.option("--study", "name", help="Instead: the space of a study.")


@click.group("devices")
def devices_command() -> None:
    """The devices that the targets of a space are measured on.

    \b
    Examples:
      search devices list --space edge.yaml
      search devices check --study edge
      search devices calibrate pi5 --space edge.yaml
    """


def _space(ctx: click.Context, path: str | None, name: str | None) -> Space:
    from spaces.load import load_space

    if path is not None:
        return load_space(path)
    with open_store(ctx) as store:
        return space_of(study_named(store, name))


@devices_command.command("list")
@_SPACE
@_STUDY
@click.pass_context
def list_command(ctx: click.Context, path: str | None, name: str | None) -> None:
    """What the space says of its targets; no device is asked."""
    from rich.console import Console
    from rich.table import Table

    table = Table("target", "device", "backend", "threads", "token from", "calibrated")
    space = _space(ctx, path, name)
    from search.devices.calibrate import remembered

    known = remembered(space, home_of(ctx).devices())
    for target, settings in space.targets.items():
        at = f"anchor {known[target]:.3f} ms" if target in known else "no"
        table.add_row(
            target,
            settings.device,
            settings.backend,
            str(settings.threads),
            settings.token_env or "",
            at,
        )
    Console().print(table)


@devices_command.command("check")
@_SPACE
@_STUDY
@click.option("--json", "as_json", is_flag=True)
@yes_option
@click.pass_context
def check_command(
    ctx: click.Context, path: str | None, name: str | None, as_json: bool, yes: bool
) -> int:
    """Ask every device what it is; exit code 1 if one is away or refuses."""
    from dataclasses import asdict

    from search.devices.check import check

    space = _space(ctx, path, name)
    agree_to_hosts(ctx, space, yes)
    found = check(space)
    if as_json:
        click.echo(json.dumps([asdict(f) for f in found], indent=1))
    else:
        for f in found:
            word = "ok  " if f.state == "ready" else "FAIL"
            click.echo(f"{word} {f.target} ({f.backend} on {f.device}): {f.state}: {f.message}")
    return 0 if all(f.state == "ready" for f in found) else 1


@devices_command.command("calibrate")
@click.argument("targets", nargs=-1)
@_SPACE
@_STUDY
@click.option("--json", "as_json", is_flag=True)
@yes_option
@click.pass_context
def calibrate_command(
    ctx: click.Context,
    targets: tuple[str, ...],
    path: str | None,
    name: str | None,
    as_json: bool,
    yes: bool,
) -> None:
    """Measure one and the same student five times: what does the device differ by on its own?

    Without TARGETS all of the space are calibrated. Later measurements say so when the anchor
    model takes longer there than it did now.
    """
    from dataclasses import asdict

    from search.devices.calibrate import calibrate, remember

    space, home = _space(ctx, path, name), home_of(ctx)
    agree_to_hosts(ctx, space, yes, *targets)
    out = []
    for target in targets or tuple(space.targets):
        done = calibrate(space, target, home.workspace().locks)
        remember(done, home.devices())
        out.append(asdict(done))
        if not as_json:
            click.echo(
                f"{target}: anchor {done.anchor_ms:.3f} ms; five restarts differ by "
                f"{done.anchor_ratio_spread:.1%} (anchor ratio) and {done.wall_median_spread:.1%} "
                f"(wall median); students {done.tells_apart:.1%} apart can be told"
            )
            for reason in done.unsteady:
                click.echo(f"  unsteady: {reason}")
    if as_json:
        click.echo(json.dumps(out, indent=1))
