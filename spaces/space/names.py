"""Names and small kinds of values that sections of a space share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from spaces.axes import Axis, parse_axis


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


Name = Annotated[str, AfterValidator(check_name)]
AxisField = Annotated[Axis, BeforeValidator(parse_axis)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
