"""`search init`: write a commented space to start from."""

from __future__ import annotations

from pathlib import Path

import click

from search.cli.common import check_output
from search.errors import UsageFault


@click.command("init")
@click.argument("path", type=click.Path(dir_okay=False), default="my-space.yaml")
@click.option("--like", default="edge", show_default=True, help="The shipped space to start from.")
@click.option("--overwrite", is_flag=True)
def init_command(path: str, like: str, overwrite: bool) -> None:
    """Write a commented space file, a copy of a shipped one with your own name in it."""
    from spaces.load import find_space, load_space

    target = Path(path)
    if target.suffix not in (".yaml", ".yml"):
        raise UsageFault(f"{target}: a space file ends in .yaml")
    check_output(target, overwrite)
    source = find_space(like)
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in target.stem).lstrip("-_.")
    text = source.read_text(encoding="utf-8")
    text = text.replace(f"name: {load_space(source).name}\n", f"name: {name or 'my-space'}\n", 1)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    click.echo(f"wrote {target}; next: search validate {target}")
