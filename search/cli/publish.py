"""`search publish`: a bundle to a folder, S3 or the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("publish")
@click.argument("bundle", type=click.Path())
@click.argument("where")
@click.option("--overwrite", is_flag=True, help="Over what lies there.")
def publish_command(bundle: str, where: str, overwrite: bool) -> None:
    """Write a bundle, checked, file by file to WHERE, with a card as hubs read it: a folder,
    s3://bucket/path (extra `s3`) or hf://user/name (extra `hf`, its token in HF_TOKEN; the
    repository has to be there)."""
    from search.bundle.publish import publish

    places = publish(Path(bundle), where, overwrite)
    click.echo(f"{bundle}: wrote {len(places)} files to {where}")
