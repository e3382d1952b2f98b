"""A space whose corpus is spoken in a second."""

TINY = """
name: tiny
data:
  synthetic: {train_utterances: 40, dev_utterances: 10, speakers: 6}
  speeds: [1.0]
teacher: {train: {}}
students: {separable_conv: {channels: [16]}}
"""
