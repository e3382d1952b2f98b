"""What a job asks of the node that it runs on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from spaces.space import Target
from workers.jobs import Job, Measure, OnDevice, Screen

PREFIX = "target_"  # of the custom resource that a node with a device has, one for each device


@dataclass(frozen=True)
class Needs:
    """Resources as Ray counts them; `here` is the node of the coordinator."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 0
    devices: Mapping[str, float] = field(default_factory=dict)
    here: bool = False


def needs_of(job: Job, offered: Collection[str], memory_gb: float = 0.0) -> Needs:
    """What a job needs.

    What measures here asks for the node that has the target as a custom resource, and where none
    has for the coordinator's own; devices that are spoken to over a network are spoken to from
    there, where their tokens are.

    Args:
        offered: targets that nodes have.
        memory_gb: what a stage that trains or teaches may take.
    """
    if isinstance(job, Measure | Screen):
        devices = {f"{PREFIX}{name}": 1.0 for name in _timed_here(job) if name in offered}
        return Needs(cpus=0.0, devices=devices, here=not devices)
    if not isinstance(job, OnDevice):
        return Needs()
    memory_bytes = round(memory_gb * 1e9)
    gpus = 1 / job.per_gpu if job.device == "cuda" else 0.0
    return Needs(float(getattr(job, "threads", 1)), gpus, memory_bytes)


def _timed_here(job: Measure | Screen) -> list[str]:
    """Targets that are this machine, or whichever the job runs on."""
    named: Mapping[str, Target] = (
        {job.target_name: job.target} if isinstance(job, Measure) else job.targets
    )
    return [name for name, target in named.items() if not target.is_remote]
