"""What coordinator and driver say to each other, a line of JSON each."""

from __future__ import annotations

from search.executors.ray.cluster import ClusterReport
from search.executors.ray.node import Errand, Told
from spaces.record import Record


class Asked(Record):
    """Send a job, or end one."""

    ticket: int
    errand: Errand | None = None  # None ends it


class Answer(Record):
    """What was heard of a job; first of all what the cluster is, or why there is none."""

    ticket: int = -1
    told: Told | None = None
    lost: str | None = None  # why a job came to no end, `times` over
    times: int = 0
    cluster: ClusterReport | None = None
    refused: str | None = None


class Start(Record):
    """With what a driver begins.

    `paths` are those that every node has to see; `marks` are files and what is in them.
    """

    address: str
    memory_gb: float
    paths: tuple[str, ...]
    marks: dict[str, str]
