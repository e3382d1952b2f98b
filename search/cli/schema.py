"""`search schema`: the schema by which editors complete and check space files."""

from __future__ import annotations

from pathlib import Path

import click

from search.cli.common import check_output


@click.command("schema")
@click.argument("path", metavar="[OUT.json]", required=False, type=click.Path(dir_okay=False))
@click.option("--overwrite", is_flag=True)
def schema_command(path: str | None, overwrite: bool) -> None:
    """Print the JSON Schema of space files, or write it to OUT.json.

    Editors with a YAML language server complete and check a space whose first line is

    \b
      # yaml-language-server: $schema=OUT.json

    as `search init` writes it. `search validate` knows more: what sections mean together.
    """
    from spaces.schema import schema_text

    if path is None:
        click.echo(schema_text(), nl=False)
        return
    target = Path(path)
    check_output(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(schema_text(), encoding="utf-8")
    click.echo(f"wrote {target}; first line of a space: # yaml-language-server: $schema={target}")
