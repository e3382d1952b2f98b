"""`search help`: the pages that lie beside the code that they describe."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import click

from search.errors import UsageFault

_ROOT = Path(__file__).parents[2]
TOPICS = {
    "space": ("spaces/README.md", "every section and key of a space file, with defaults"),
    "backends": ("workers/backends/README.md", "inference runtimes, and one of your own"),
    "agent": ("workers/agent/README.md", "measuring on a device"),
    "measuring": ("workers/measure/README.md", "how latency and word errors are measured"),
    "bundle": ("search/bundle/README.md", "what an exported package holds"),
    "serving": ("search/serving/README.md", "students as a service, live speech, policies"),
    "dashboard": ("dashboard/README.md", "the pages, and how to share them"),
    "engines": ("search/executors/README.md", "one machine, several, Slurm, Kubernetes"),
}


@click.command("help")
@click.argument("topic", required=False)
def help_command(topic: str | None) -> None:
    """Print a page of the documentation; without a topic, which there are.

    \b
    Examples:
      search help
      search help space
    """
    if topic is None:
        _list_topics()
        return
    if topic not in TOPICS:
        near = difflib.get_close_matches(topic, TOPICS, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"topics: {', '.join(TOPICS)}"
        raise UsageFault(f'no topic "{topic}"; {hint} (for a command: search {topic} --help)')
    text = (_ROOT / TOPICS[topic][0]).read_text(encoding="utf-8")
    _show(re.sub(r"<!--.*?-->\n", "", text))


def _list_topics() -> None:
    width = max(map(len, TOPICS))
    for name, (_, meaning) in TOPICS.items():
        click.echo(f"  {name:<{width}}  {meaning}")
    click.echo("\nsearch help TOPIC prints one; `search COMMAND --help` is about a command")


def _show(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    if not console.is_terminal:  # as it is written, to search in and to paste
        click.echo(text, nl=False)
        return
    with console.pager(styles=True):
        console.print(Markdown(text))
