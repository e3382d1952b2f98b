"""A small search and how tests call the command line in a process of its own."""

from __future__ import annotations

import sys

# A search that goes through every stage in seconds.
TINY_SPACE = """
name: tiny
data:
  synthetic: {train_utterances: 60, dev_utterances: 12, speakers: 8}
  speeds: [1.0]
teacher:
  train:
    student: {family: separable_conv, channels: 32, blocks: 2}
    training: {epochs: 3}
students:
  separable_conv: {channels: [16, 24, 32], blocks: [1, 2]}
  recurrent: {cell: [gru, lstm], channels: [16], hidden: [16, 24], layers: [1]}
training: {epochs: 4}
distil: {weight: [0.0, 0.5]}
prune: {ratio: [0.0, 0.4], epochs: 2}
quantize: {scheme: [fp32, int8_dynamic]}
targets: {cpu: {runs: 10, restarts: 1, tries: 1, max_s: 0.5}}
search: {trials: 6, parallel: 2, confirm: false}
"""

# The data, teacher and students of searches that are run by the dozen.
SMALLEST_SPACE = """
name: tiny
data:
  synthetic: {train_utterances: 20, dev_utterances: 6, speakers: 4}
  speeds: [1.0]
teacher:
  train:
    student: {family: separable_conv, channels: 16, blocks: 1}
    training: {epochs: 2}
students:
  separable_conv: {channels: [16, 24], blocks: [1, 2]}
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from search.cli import main; main()", *map(str, arguments)]
