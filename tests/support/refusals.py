"""A small space to spoil, and what is said to bad input."""

from __future__ import annotations

from collections.abc import Callable

Refused = Callable[..., str]
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
