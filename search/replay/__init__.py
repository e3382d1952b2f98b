"""Recorded tables, and searches that replay on them in seconds: the real coordinator and
strategies, with an executor that looks results up and a clock that jumps."""
