"""Students begin as part of a teacher only where it is a network of ours, as wide as they."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from search.errors import UsageFault
from search.study.starting import check_repeatable, check_start
from spaces.errors import SpaceError
from spaces.families import SeparableConv
from spaces.space import Space
from workers.checkpoint import save_network
from workers.errors import TeacherFault
from workers.students.base import build
from workers.teachers.imported import check_files

BEGUN = {"start": ["nothing", "teacher"]}
SYMBOLS = ("<blk>", "a")
MakeSpace = Callable[..., Space]


def _checkpoint(dims: SeparableConv, path: Path) -> dict[str, str]:
    save_network(build(dims, len(SYMBOLS)), SYMBOLS, path)
    return {"checkpoint": str(path)}


def test_a_program_has_no_parts_to_begin_as(make_space: MakeSpace) -> None:
    program = make_space(teacher={"command": ["asr", "{audio}"]}, training=BEGUN)
    with pytest.raises(UsageFault, match=r"a teacher of the kind command: is no network of this"):
        check_start(program)
    check_start(make_space(training=BEGUN))
    check_start(make_space(teacher={"command": ["asr", "{audio}"]}))


def test_no_student_is_a_part_that_is_wider(make_space: MakeSpace, tmp_path: Path) -> None:
    small = _checkpoint(SeparableConv(channels=32, blocks=2), tmp_path / "small.safetensors")
    students = {"separable_conv": {"channels": {"int": [16, 64], "step": 16}}, "recurrent": {}}
    wider = r"students\.separable_conv\.channels goes up to 64, the teacher has 32"
    for teacher in (small, {"train": {"student": {"family": "separable_conv", "channels": 32}}}):
        with pytest.raises(UsageFault, match=wider):
            check_start(make_space(teacher=teacher, training=BEGUN, students=students))
    narrow = {"separable_conv": {"channels": [16, 32]}}
    check_start(make_space(teacher=small, training=BEGUN, students=narrow))
    check_start(make_space(teacher=small, training=BEGUN, students={"recurrent": {"hidden": 512}}))


def test_a_teacher_that_is_not_of_one_width_has_no_parts(
    make_space: MakeSpace, tmp_path: Path
) -> None:
    dims = SeparableConv(channels=32, blocks=1, expand=2.0, widths=(24, 32, 40))
    teacher = _checkpoint(dims, tmp_path / "pruned.safetensors")
    with pytest.raises(UsageFault, match="it was pruned over all groups at once"):
        check_start(make_space(teacher=teacher, training=BEGUN))


def test_who_writes_tokens_teaches_nobody(make_space: MakeSpace, tmp_path: Path) -> None:
    paraformer = {"student": {"family": "paraformer"}}
    with pytest.raises(SpaceError, match="paraformer writes tokens, not what it makes"):
        make_space(teacher={"train": paraformer})
    with pytest.raises(SpaceError, match="a teacher has none to begin as a part of"):
        make_space(teacher={"train": {"training": {"start": "teacher"}}})
    from spaces.families import Paraformer
    from spaces.space import TeacherSource

    path = tmp_path / "tokens.safetensors"
    dims = Paraformer(channels=16, blocks=1, heads=1, feed_forward=16)
    save_network(build(dims, len(SYMBOLS)), SYMBOLS, path)
    with pytest.raises(TeacherFault, match="a paraformer writes tokens"):
        check_files(TeacherSource(checkpoint=str(path)))


def test_measured_times_decide_nothing_in_a_search_that_shall_be_repeated(
    make_space: MakeSpace,
) -> None:
    check_repeatable(make_space())
    with pytest.raises(UsageFault, match="take it out for --deterministic"):
        check_repeatable(make_space(prune={"ratio": 0.3, "scope": ["module", "time"]}))
