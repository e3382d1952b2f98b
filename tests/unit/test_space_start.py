"""What students begin as, and who may teach them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from search.errors import UsageFault
from search.study.repeatable import check_repeatable
from spaces.errors import SpaceError
from spaces.families import Paraformer
from spaces.space import Space, TeacherSource
from workers.checkpoint import save_network
from workers.errors import TeacherFault
from workers.students.base import build
from workers.teachers.imported import check_files

BEGUN = {"start": ["nothing", "teacher"]}
SYMBOLS = ("<blk>", "a")
MakeSpace = Callable[..., Space]


@pytest.mark.parametrize(
    ("teacher", "has_parts"),
    [
        ({"command": ["asr", "{audio}"]}, False),
        ({"onnx": "t.onnx", "tokens": "t.txt"}, False),
        ({"checkpoint": "t.safetensors"}, True),
        ({"train": {}}, True),
        ({"train": {"student": {"family": "recurrent"}}}, False),
    ],
    ids=str,
)
def test_only_a_network_of_ours_has_parts_to_begin_as(
    make_space: MakeSpace, teacher: dict[str, object], has_parts: bool
) -> None:
    space = make_space(teacher=teacher, training=BEGUN)
    assert ("training.start" in space.axes_of("separable_conv")) == has_parts


def test_who_writes_tokens_teaches_nobody(make_space: MakeSpace, tmp_path: Path) -> None:
    paraformer = {"student": {"family": "paraformer"}}
    with pytest.raises(SpaceError, match="paraformer writes tokens, not what it makes"):
        make_space(teacher={"train": paraformer})
    with pytest.raises(SpaceError, match="a teacher has none to begin as a part of"):
        make_space(teacher={"train": {"training": {"start": "teacher"}}})
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
