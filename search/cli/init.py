"""`search init`: write a commented space to start from."""

from __future__ import annotations

from pathlib import Path

import click

from search.cli.common import check_output
from search.errors import UsageFault

_MINIMAL = """\
name: {name}
like: {like}{pad}# its students, training and search, but for the sections you add here
data: {{synthetic: {{}}}}      # <<< your data: {{train: train.jsonl, dev: dev.jsonl}}
teacher: {{train: {{}}}}       # <<< your teacher, as {{onnx: teacher.onnx, tokens: tokens.txt}} or
                           #     huggingface:, sherpa:, command:, …; or one is trained here
budgets: {{size_mb: "<= 15", latency_p95_ms: "<= 50"}}    # <<< hard limits of a student
"""


@click.command("init")
@click.argument("path", type=click.Path(dir_okay=False), default="my-space.yaml")
@click.option("--like", default="edge", show_default=True, help="The shipped space to start from.")
@click.option(
    "--minimal", is_flag=True, help="Data, teacher and budgets only; the rest stays that space's."
)
@click.option("--overwrite", is_flag=True)
def init_command(path: str, like: str, minimal: bool, overwrite: bool) -> None:
    """Write a space file to start from: a commented copy of a shipped one, or with --minimal six
    lines that lean on it. It names a schema, by which editors complete and check what is typed."""
    import yaml

    from spaces.load import find_space, load_space
    from spaces.schema import modeline

    target = Path(path)
    if target.suffix not in (".yaml", ".yml"):
        raise UsageFault(f"{target}: a space file ends in .yaml")
    check_output(target, overwrite)
    source = find_space(like)
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in target.stem).lstrip("-_.")
    name = stem or "my-space"
    if not isinstance(yaml.safe_load(name), str):  # 2024 and true are names, too
        name = f'"{name}"'
    if minimal:
        text = _minimal(name, source)
    else:
        text = source.read_text(encoding="utf-8")
        text = text.replace(f"name: {load_space(source).name}\n", f"name: {name}\n", 1)
        text = text.partition("\n")[2] if text.startswith("# yaml-language-server:") else text
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f"{modeline()}\n{text}", encoding="utf-8")
    click.echo(f"wrote {target}; next: search validate {target}")


def _minimal(name: str, source: Path) -> str:
    from spaces.load import shipped_spaces

    like = source.stem
    if shipped_spaces().get(like) != source:
        raise UsageFault(f"--like {source}: a minimal file leans on a shipped space, not on a file")
    return _MINIMAL.format(name=name, like=like, pad=" " * max(1, 21 - len(like)))
