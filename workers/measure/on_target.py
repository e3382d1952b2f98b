"""Times a model on a target: this machine, a device behind an agent, or a phone."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

from spaces.backends import backend_info
from spaces.space import Target
from workers.agent.client import Agent
from workers.data.audio import read_audio
from workers.data.batches import Corpus
from workers.data.entries import Entry
from workers.errors import DeviceRefused
from workers.jobs import Place
from workers.measure.latency import (
    Candidate,
    Latency,
    LatencyRequest,
    Runner,
    measure_latency,
    run_here,
)
from workers.measure.quiet import Host

_N_UTTERANCES = 12


def spread(entries: list[Entry], count: int) -> list[Entry]:
    """So many entries, evenly over a list."""
    places = np.linspace(0, len(entries) - 1, min(count, len(entries))).round().astype(int)
    return [entries[i] for i in places]


def timed_entries(corpus: Corpus) -> list[Entry]:
    """The dev utterances that are timed, short to long."""
    return spread(sorted(corpus.dev, key=lambda e: e.seconds), _N_UTTERANCES)


def timed_audio(corpus: Corpus) -> tuple[Path, ...]:
    """Their samples, as .npy for the process that times."""
    folder = corpus.folder / "timed"
    if not folder.exists():
        partial = folder.with_name(f"timed.{uuid.uuid4().hex}.partial")
        partial.mkdir()
        for i, entry in enumerate(timed_entries(corpus)):
            samples = read_audio(entry.audio, entry.offset_s, entry.duration_s)
            np.save(partial / f"{i:02d}.npy", samples)
        try:
            partial.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(partial)
    return tuple(sorted(folder.glob("*.npy")))


def request_for(
    target: Target, corpus: Corpus, models: list[tuple[str, Path, Path]], is_quick: bool = False
) -> LatencyRequest:
    """What to ask of a target, for models (backend, main file, tokens) timed in turn.

    A quick one, for screening, is a single restart without details.
    """
    return LatencyRequest(
        candidates=tuple(
            Candidate(backend, str(model), str(tokens), target.settings())
            for backend, model, tokens in models
        ),
        audio=tuple(map(str, timed_audio(corpus))),
        audio_s=tuple(e.seconds for e in timed_entries(corpus)),
        threads=target.threads,
        min_runs=min(target.runs, 24) if is_quick else target.runs,
        max_s=min(target.max_s, 2.0) if is_quick else target.max_s,
        within=0.05 if is_quick else target.within,
        restarts=1 if is_quick else target.restarts,
        details=not is_quick,
        gpu=backend_info(target.backend).gpu,
    )


def measure_on(target: Target, request: LatencyRequest, place: Place) -> tuple[Latency, ...]:
    """Time models while nothing that we started disturbs the device.

    Raises:
        DeviceAway: when the device cannot be reached now.
        DeviceRefused: when it will not.
        WorkError: when a model or its runtime fails.
    """
    with _quiet(target, place):
        return measure_latency(request, runner_for(target))


@contextmanager
def _quiet(target: Target, place: Place) -> Iterator[None]:
    if target.shares_this_machine:
        with Host(place.locks).quiet():
            yield
    elif target.adb is not None:  # an agent takes one job at a time by itself
        place.locks.mkdir(parents=True, exist_ok=True)
        with FileLock(place.locks / f"adb-{target.adb.replace(':', '-')}.lock"):
            yield
    else:
        yield


def runner_for(target: Target) -> Runner:
    if target.agent is not None:
        return agent_of(target).run
    if target.adb is not None:
        from workers.measure.adb import Phone

        return Phone(target.adb).run
    return run_here


def agent_of(target: Target) -> Agent:
    """The agent that a target names.

    Raises:
        DeviceRefused: when its token is not in the environment.
    """
    assert target.agent is not None
    ca_file = None if target.ca_file is None else Path(target.ca_file)
    return Agent(target.agent, token_of(target), ca_file)


def token_of(target: Target) -> str:
    """The token of an agent, from the environment.

    Raises:
        DeviceRefused: when the variable is not set.
    """
    assert target.token_env is not None
    token = os.environ.get(target.token_env, "")
    if not token:
        raise DeviceRefused(
            f"{target.agent}: the variable {target.token_env} with its token is not set"
        )
    return token
