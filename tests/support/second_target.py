"""A space of two families, with a second target to fill in."""

from __future__ import annotations

SPACE = """\
name: test
data: {synthetic: {}}
teacher: {train: {}}
students:
  separable_conv: {channels: 16}
  recurrent: {hidden: 16}
quantize: {scheme: fp32}
targets:
  cpu: {}
  other: {BACKEND}
"""


def with_second_target(target: str) -> str:
    return SPACE.replace("BACKEND", target)
