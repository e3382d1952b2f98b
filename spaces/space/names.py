"""Names and small kinds of values that sections of a space share."""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from spaces.axes import Axis, parse_axis

N = TypeVar("N", bound=str)


def check_name(name: str) -> str:
    """The name of a study, which is also part of file names.

    Raises:
        ValueError: saying what a name is.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ValueError(
            f'"{name}" is not a valid name: a letter or digit, then up to 63 letters, digits, ".", '
            '"-" or "_"'
        )
    return name


def each_once(names: tuple[N, ...]) -> tuple[N, ...]:
    """A list in which nothing stands twice.

    Raises:
        ValueError: naming what does.
    """
    twice = [n for i, n in enumerate(names) if n in names[:i]]
    if twice:
        raise ValueError(f"names {twice[0]} twice")
    return names


Name = Annotated[str, AfterValidator(check_name)]
AxisField = Annotated[Axis, BeforeValidator(parse_axis)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
