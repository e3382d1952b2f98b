"""What the command line may set over the space file."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from search.errors import UsageFault
from spaces.gates import Gates
from spaces.load import find_space, parse_space, read_text, stored_text
from spaces.space import Search, Space, check_name


@dataclass(frozen=True)
class Options:
    """What the command line may set over the space file; None leaves it as it is."""

    study: str | None = None
    trials: int | None = None
    hours: float | None = None
    compute_hours: float | None = None
    parallel: int | None = None
    seed: int | None = None
    sampler: str | None = None
    deterministic: bool = False
    is_recording: bool = False  # for a table: see `recording`


def read_space(path: str, options: Options) -> tuple[Space, str, str]:
    """The space with the options applied, the text that is kept of it, and its path.

    Raises:
        SpaceError: with every fault of the file.
    """
    found = find_space(path).resolve()
    text = read_text(found)
    space = parse_space(text, found)
    return with_options(space, options), stored_text(text, found), str(found)


def with_options(space: Space, options: Options) -> Space:
    """The space as the command line changes it.

    Raises:
        UsageFault: naming the option that is wrong.
    """
    given = {
        name: value
        for name in ("trials", "hours", "compute_hours", "parallel", "seed", "sampler")
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
    space = space.model_copy(update={"search": search, "name": name})
    return recording(space) if options.is_recording else space


# Scored there, so that rules that stop a training early can be tried on the table.
_RUNGS = (1 / 9, 1 / 6, 1 / 3, 1 / 2, 2 / 3)


def recording(space: Space) -> Space:
    """The space as a table is recorded from: recipes at random, whatever they come to, each trained
    to its end and judged in every number format; of no front, so that nothing is scored on test."""
    search = {
        "sampler": "random",
        "formats": "all",
        "rungs": _RUNGS,
        "stop_early": False,
        "confirm": False,
        "initial_trials": 0,
        "warm_start": (),
    }
    spoken = space.data.synthetic
    if spoken is not None:
        spoken = spoken.model_copy(update={"test_utterances": 0})
    return space.model_copy(
        update={
            "data": space.data.model_copy(update={"test": None, "synthetic": spoken}),
            "search": space.search.model_copy(update=search),
            "budgets": (),
            "gate": Gates(),
        }
    )
