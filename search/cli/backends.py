"""`search backends`: inference runtimes, what they take, and how they are installed."""

from __future__ import annotations

import json

import click


@click.group("backends", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def backends_command(ctx: click.Context, as_json: bool) -> None:
    """List the inference runtimes that a target can name.

    \b
    Examples:
      search backends
      search backends install litert
    """
    if ctx.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    from spaces.backends import BACKENDS, backend_info
    from spaces.registry import UnknownName
    from workers.backends.environments import is_installed

    infos = []
    for name in BACKENDS:
        try:
            infos.append(backend_info(name))
        except UnknownName as error:  # another package's, and no reason to hide the others
            click.echo(f"search: {error}", err=True)
    infos = [info for info in infos if info.status != "for tests"]
    if as_json:
        rows = [{**asdict(info), "installed": is_installed(info)} for info in infos]
        click.echo(json.dumps(rows, indent=1))
        return
    for info in infos:
        here = "installed" if is_installed(info) else how_to_install(info)
        click.echo(f"{info.name} ({info.status}; {here}): {info.meaning}")
        families = "all families" if info.families is None else ", ".join(info.families)
        click.echo(f"    {', '.join(info.formats)}; {families}")
        if info.settings:
            click.echo(f"    settings: {', '.join(info.settings)}")
        if info.limits:
            click.echo(f"    {info.limits}")


def how_to_install(info: object) -> str:
    from spaces.backends import BackendInfo

    assert isinstance(info, BackendInfo)
    if info.requirements:
        return f"to install: search backends install {info.name}"
    if info.extra:
        return f'to install: pip install "compression-search[{info.extra}]"'
    return "cannot run here"


@backends_command.command("install")
@click.argument("names", nargs=-1, required=True)
def install_command(names: tuple[str, ...]) -> None:
    """Make the environment of runtimes whose packages conflict with ours."""
    from search.errors import UsageFault
    from spaces.backends import backend_info
    from spaces.registry import UnknownName
    from workers.backends.environments import install, is_installed

    try:
        infos = [backend_info(name) for name in names]
    except UnknownName as error:
        raise UsageFault(str(error)) from error
    for info in infos:
        if is_installed(info):
            click.echo(f"{info.name}: is installed")
            continue
        click.echo(f"{info.name}: installing {' '.join(info.requirements)} …")
        install(info)
        click.echo(f"{info.name}: installed")
