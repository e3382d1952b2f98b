"""How a target is reached: this machine, a device behind an agent, or a phone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from spaces.space import Target
from workers.errors import DeviceRefused
from workers.host_lock import HostLock
from workers.measure.latency import Latency, measure_latency
from workers.probe.request import LatencyRequest, Runner
from workers.targets.agent import Agent
from workers.targets.local import run_here


def measure_on(
    target: Target, request: LatencyRequest, locks: Path, run: Runner | None = None
) -> tuple[Latency, ...]:
    """Time models while nothing that we started disturbs the device.

    Args:
        run: performs the request; by default as the target is reached.

    Raises:
        DeviceUnreachable: when the device cannot be reached now.
        DeviceRefused: when it will not.
        WorkError: when a model or its runtime fails.
    """
    with undisturbed(target, locks):
        return measure_latency(request, run or runner_for(target))


@contextmanager
def undisturbed(target: Target, locks: Path) -> Iterator[None]:
    """Hold what would disturb a measurement on a target: this machine, or a phone."""
    if target.shares_this_machine:
        with HostLock(locks).exclusive():
            yield
    elif target.adb is not None:  # an agent takes one job at a time by itself
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"adb-{target.adb.replace(':', '-')}.lock"):
            yield
    else:
        yield


def runner_for(target: Target) -> Runner:
    if target.agent is not None:
        return agent_of(target).run
    if target.adb is not None:
        from workers.targets.adb import Phone

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
