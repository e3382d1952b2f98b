"""Students begin as part of a teacher only where it is a network of this program."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from search.errors import UsageFault
from search.study.starting import check_start
from spaces.space import Space


def test_a_program_has_no_parts_to_begin_as(make_space: Callable[..., Space]) -> None:
    begun = {"start": ["nothing", "teacher"]}
    program = make_space(teacher={"command": ["asr", "{audio}"]}, training=begun)
    with pytest.raises(UsageFault, match=r"a teacher of the kind command: is no network of this"):
        check_start(program)
    check_start(make_space(training=begun))
    check_start(make_space(teacher={"command": ["asr", "{audio}"]}))
