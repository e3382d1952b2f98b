"""What the command line may set over the space file."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from search.errors import UsageFault
from spaces.load import find_space, parse_space, read_text
from spaces.space import Search, Space, check_name


@dataclass(frozen=True)
class Options:
    """What the command line may set over the space file; None leaves it as it is."""

    study: str | None = None
    trials: int | None = None
    hours: float | None = None
    parallel: int | None = None
    seed: int | None = None
    sampler: str | None = None
    deterministic: bool = False


def read_space(path: str, options: Options) -> tuple[Space, str, str]:
    """The space with the options applied, its text and the path it was read from.

    Raises:
        SpaceError: with every fault of the file.
    """
    found = find_space(path).resolve()
    text = read_text(found)
    space = parse_space(text, found)
    return with_options(space, options), text, str(found)


def with_options(space: Space, options: Options) -> Space:
    """The space as the command line changes it.

    Raises:
        UsageFault: naming the option that is wrong.
    """
    given = {
        name: value
        for name in ("trials", "hours", "parallel", "seed", "sampler")
        if (value := getattr(options, name)) is not None
    }
    try:
        name = check_name(space.name if options.study is None else options.study)
    except ValueError as error:
        raise UsageFault(f"--study: {error}") from error
    try:
        search = Search.model_validate({**space.search.model_dump(), **given})
    except ValidationError as error:
        faults = [f"--{e['loc'][0]} {e['input']}: {e['msg'].lower()}" for e in error.errors()]
        raise UsageFault("; ".join(faults)) from error
    return space.model_copy(update={"search": search, "name": name})
