"""What a bundle promises of itself: its figures with their intervals, and under which conditions
they were taken, so that anybody can take them again (`search.bundle.verify`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.bundle.subject import Subject
from spaces.recipe import digest_of
from spaces.space import Space

CONDITIONS = "conditions.json"
_MACHINE = ("processor", "cores", "system", "runtimes", "features_by")
EXACT = ("size_mb", "n_words")  # are the same wherever they are counted
_UNTIMED = ("wer",)


@dataclass(frozen=True)
class Promise:
    """A figure of the file that ships; `low` and `high` are its 95 % interval, or what it is."""

    metric: str
    value: float
    low: float
    high: float

    @property
    def is_timed(self) -> bool:
        """Whether it is of a machine."""
        return self.metric not in (*EXACT, *_UNTIMED)

    def holds(self, value: float) -> bool:
        """Whether it is so, but for what a float does not tell."""
        slack = 1e-9 * max(1.0, abs(self.value))
        return self.low - slack <= value <= self.high + slack


def promises(measurements: Sequence[Mapping[str, Any]], target: str) -> list[Promise]:
    """Those of a bundle's `measurements.json` for one target: what has an interval, or is exact."""
    known: dict[str, float] = {}
    for m in measurements:
        if m["target"] in ("", target):
            known[str(m["metric"])] = float(m["value"])
    found = []
    for metric, value in known.items():
        low, high = known.get(f"{metric}_low"), known.get(f"{metric}_high")
        if low is not None and high is not None:
            found.append(Promise(metric, value, low, high))
        elif metric in EXACT:
            found.append(Promise(metric, value, value, value))
    return found


def conditions(
    subject: Subject, space: Space, target: str, shipped: Sequence[str]
) -> dict[str, Any]:
    """Under which the figures of a target were taken.

    Args:
        shipped: names of the files of the model, whose sizes are counted.
    """
    measured = subject.results.measure(target)
    scored = subject.results.score(label_on(space, target))
    machine = {} if measured is None else measured.machine
    data = space.data
    return {
        "target": target,
        "shipped": sorted(shipped),
        "settings": space.targets[target].model_dump(mode="json", exclude_defaults=True),
        "machine": {name: machine[name] for name in _MACHINE if name in machine},
        "lowercase": data.lowercase,
        "remove_punctuation": data.remove_punctuation,
        "max_duration_s": data.max_duration_s,
        "synthetic": None if data.synthetic is None else data.synthetic.model_dump(mode="json"),
        "dev_words": None if scored is None else digest_of_words(scored.words),
    }


def digest_of_words(words: Sequence[int]) -> str:
    """By which a dev set is known again: of how many words each utterance has, in their order."""
    return digest_of([len(words), *words])


def label_on(space: Space, target: str) -> str:
    """Of the runtime that a target runs."""
    return next(r.label for r in space.runtimes() if target in r.targets)
