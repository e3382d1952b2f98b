"""A target on this machine: a child process in the environment of its runtime."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from workers.backends.environments import interpreter_of
from workers.isolated_call import call
from workers.probe.request import LatencyRequest, ProcessSample, process_samples_of


def run_here(request: LatencyRequest, interpreter: Path | None = None) -> list[ProcessSample]:
    """One restart on this machine."""
    interpreter = interpreter or interpreter_of(request.candidates[0].backend)
    answer = call("measure", asdict(request), interpreter, threads=request.threads)
    return process_samples_of(answer)
