"""What a bundle promises of itself: its figures with their intervals, and under which conditions
they were taken, so that anybody can take them again (`search.bundle.verify`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, JsonValue, ValidationError

from search.bundle.subject import Subject
from spaces.recipe import digest_of
from spaces.record import Record
from spaces.space import Space, Synthetic, Target
from workers.errors import BundleFault

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


class TimedAs(Record):
    """What of a target says how times were taken: nothing of where it is reached."""

    backend: str = "onnxruntime"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    graph_level: str = "all"
    arena: bool = True
    spinning: bool = False
    precision: str = "fp32"
    filter_bank: str = "kaldi"
    runs: Annotated[int, Field(ge=1, le=10_000)] = 60
    restarts: Annotated[int, Field(ge=1, le=10)] = 3
    tries: Annotated[int, Field(ge=1, le=5)] = 3
    max_s: Annotated[float, Field(gt=0, le=120)] = 20.0
    within: Annotated[float, Field(gt=0, le=1)] = 0.01
    stream_limit_ms: Annotated[float, Field(gt=0)] = 300.0

    def target(self) -> Target:
        """On this machine."""
        return Target.model_validate(self.model_dump())


class Conditions(Record):
    """Under which the figures of a target were taken: `conditions.json`. A bundle may be anybody's,
    so that it names no place and bounds what it asks for."""

    target: str
    settings: TimedAs
    machine: dict[str, JsonValue]
    lowercase: bool
    remove_punctuation: bool
    max_duration_s: Annotated[float, Field(gt=0, le=3600)]
    synthetic: Synthetic | None
    dev_words: str | None

    @classmethod
    def read(cls, text: str, name: str) -> Conditions:
        """From a file.

        Raises:
            BundleFault: when it is none.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "all of it"
            raise BundleFault(f"{name}: {where}: {first['msg']}") from error


def conditions(subject: Subject, space: Space, target: str) -> Conditions:
    """Under which the figures of a target were taken."""
    measured = subject.results.measure(target)
    scored = subject.results.score(label_on(space, target))
    machine = {} if measured is None else measured.machine
    data = space.data
    settings = space.targets[target].model_dump(mode="json", include=set(TimedAs.model_fields))
    return Conditions.model_validate(
        {
            "target": target,
            "settings": settings,
            "machine": {name: machine[name] for name in _MACHINE if name in machine},
            "lowercase": data.lowercase,
            "remove_punctuation": data.remove_punctuation,
            "max_duration_s": data.max_duration_s,
            "synthetic": data.synthetic,
            "dev_words": None if scored is None else digest_of_words(scored.words),
        }
    )


def digest_of_words(words: Sequence[int]) -> str:
    """By which a dev set is known again: of how many words each utterance has, in their order."""
    return digest_of([len(words), *words])


def label_on(space: Space, target: str) -> str:
    """Of the runtime that a target runs."""
    return next(r.label for r in space.runtimes() if target in r.targets)
