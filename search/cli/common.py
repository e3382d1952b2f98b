"""What several commands share: the home, the study they speak of, its space."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from search.errors import UsageFault
from search.home import Home
from spaces.load import parse_space
from spaces.space import Space
from storage.errors import StorageError
from storage.records import Study
from storage.store import Store

DEFAULT_HOME = ".search"


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
    path = _sqlite_path(home.store_url)
    if home.store_url.startswith("sqlite") and not path.exists():
        raise UsageFault(
            f"no studies in {path.parent} yet; start one with `search launch --space "
            "quickstart.yaml`, or name another place with --home"
        )
    store = Store(home.store_url)
    try:
        yield store
    finally:
        store.close()


def _sqlite_path(url: str) -> Path:
    return Path(url.partition("///")[2])


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


def space_of(study: Study) -> Space:
    return parse_space(study.space_yaml, study.space_path).model_copy(update={"name": study.name})


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


__all__ = ["StorageError", "home_of", "open_store", "space_of", "study_named", "whole_number"]
