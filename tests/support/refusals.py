"""A small space to spoil, and what is said to bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Refused = Callable[..., str]
Fault = tuple[str, str, int, str]  # replaced in the space, by what; the line, and what is said
SPACE = """\
name: tiny
data:
  synthetic: {train_utterances: 20, dev_utterances: 5, speakers: 4}
teacher:
  train: {}
students:
  separable_conv:
    channels: [32, 64]
    kernel: 11
objectives: [wer, latency_p95_ms, size_mb]
budgets:
  size_mb: "<= 5"
forbid: []
targets:
  cpu: {backend: onnxruntime, threads: 1}
search:
  trials: 2
"""
NO_MAPPING = "is not a mapping of keys such as name:, data:, …"
LIMIT = 'write "<= 15" or "<= teacher + 0.012"'


def assert_told_with_its_line(refused: Refused, folder: Path, fault: Fault) -> None:
    """The space with this fault is refused for it alone, and nothing is started."""
    old, new, line, said = fault
    assert old in SPACE
    path = folder / "tiny.yaml"
    path.write_text(SPACE.replace(old, new))
    text = refused("validate", path, "--quick")
    start = f"{path}: 1 fault; nothing was started\n  {path}:{line}: "
    assert start in text
    assert said in text.partition(start)[2]
