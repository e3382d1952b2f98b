"""What several commands share: the home, the study they speak of, its space."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from search.added_targets import space_of
from search.errors import UsageFault
from search.home import Home
from search.progress import SILENT_S, LiveStatus
from spaces.files import why_not_a_file
from spaces.space import Space
from storage.database import sqlite_file
from storage.errors import StorageError
from storage.records import Study
from storage.store import Store

DEFAULT_HOME = ".search"
yes_option = click.option(
    "--yes", is_flag=True, help="Agree to send the tokens of its devices to hosts not seen before."
)


def home_of(ctx: click.Context) -> Home:
    options: dict[str, str | None] = ctx.obj
    folder = Path(options["home"] or DEFAULT_HOME)
    return Home.at(folder, options["store"], options["artifacts"])


@contextmanager
def open_store(ctx: click.Context) -> Iterator[Store]:
    """The store of the home.

    Raises:
        UsageFault: when nothing was ever launched there.
    """
    home = home_of(ctx)
    path = sqlite_file(home.store_url)
    if path is not None and not path.exists():
        raise UsageFault(
            f"no studies in {path.parent} yet; start one with `search launch --space "
            "quickstart.yaml`, or name another place with --home"
        )
    store = Store(home.store_url)
    try:
        yield store
    finally:
        store.close()


def study_named(store: Store, name: str | None) -> Study:
    """The study of that name; without a name, the only one there is.

    Raises:
        UsageFault: when a name is needed.
    """
    if name is not None:
        return store.studies.get(name)
    studies = store.studies.all()
    if len(studies) == 1:
        return studies[0]
    if not studies:
        raise UsageFault("the store holds no studies yet; start one with `search launch`")
    raise UsageFault(f"which study? The store holds {', '.join(s.name for s in studies)}")


def running_study(store: Store, name: str | None) -> Study:
    """As `study_named`, of those that run.

    Raises:
        UsageFault: when it does not.
    """
    study = study_named(store, name)
    if not study.state.is_live:
        raise UsageFault(
            f'study "{study.name}" is {study.state}, not running; continue it with `search launch`'
        )
    return study


def check_signs(study: Study, watched_since: float) -> None:
    """A coordinator that was killed says nothing more.

    Args:
        watched_since: of one that has said nothing yet.

    Raises:
        UsageFault: saying how to go on.
    """
    live = LiveStatus.of(study)
    if time.time() - (watched_since if live is None else live.at) > SILENT_S:
        raise UsageFault(
            f'study "{study.name}" has given no sign of life for {SILENT_S:.0f} s; continue it '
            "with `search launch`"
        )


def agree_to_hosts(ctx: click.Context, space: Space, yes: bool, *names: str) -> None:
    """Ask before the token of a target goes to a host for the first time.

    Args:
        names: the targets that are spoken to; by default all of the space.

    Raises:
        UsageFault: when it is not agreed to.
    """
    from search.devices.trust import agree

    is_asked = sys.stdin is not None and sys.stdin.isatty()
    targets = [target for name, target in space.targets.items() if not names or name in names]
    agree(targets, home_of(ctx).trusted_hosts(), _ask if is_asked else None, yes)


def _ask(question: str) -> bool:
    return click.confirm(question, err=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Progress with the time left, on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def step(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=of)
            bar.update(tasks[what], completed=done)

        yield step


def check_output(path: Path, overwrite: bool = True) -> None:
    """A file may be written there.

    Raises:
        UsageFault: when something is there that has to stay, or that is not a file.
    """
    if not path.exists():
        return
    if why := why_not_a_file(path):
        raise UsageFault(f"{path}: {why}; choose another name")
    if not overwrite:
        raise UsageFault(f"{path} exists already; choose another name or give --overwrite")


def whole_number(text: str, what: str) -> int:
    try:
        number = int(text)
    except ValueError as error:
        raise UsageFault(f'{what}: "{text}" is not a whole number') from error
    if number < 0:
        raise UsageFault(f"{what}: {number} is below 0")
    if number >= 2**31:
        raise UsageFault(f"{what}: {text[:40]} is not such a number")
    return number


__all__ = [
    "StorageError",
    "agree_to_hosts",
    "check_output",
    "check_signs",
    "home_of",
    "open_store",
    "progress_bar",
    "running_study",
    "space_of",
    "study_named",
    "whole_number",
    "yes_option",
]
