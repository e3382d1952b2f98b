"""What is said between a device agent and its client, checked by hand: a device has no pydantic.

A job names its files by the SHA-256 of their content; they are uploaded before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from spaces.backends import PRECISIONS
from spaces.front_end import FrontEnd
from workers.backends.base import Settings
from workers.probe.request import GivenSettings

VERSION = 2  # of these messages; both ends have to speak the same
MOST_JSON_BYTES = 1_000_000
_MOST_FAULTS = 20
_MOST_THREADS = 256

DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
JOB_ID = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
_BACKEND = re.compile(r"[a-z0-9_]{1,40}", re.ASCII)
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_CHOICES = {"graph_level": ("all", "extended", "basic", "off"), "precision": PRECISIONS}


_USUAL = {"front_end": "", "filter_bank": "kaldi"}  # of the features of a candidate


class MessageFault(ValueError):
    """A message cannot be used; the text lists all that is wrong with it."""


@dataclass(frozen=True)
class JobCandidate:
    """A prepared model: its files by name, and how it is run."""

    backend: str
    files: Mapping[str, str]  # plain name → digest
    main: str
    tokens: str
    settings: GivenSettings
    front_end: str = ""  # its code
    filter_bank: str = "kaldi"


@dataclass(frozen=True)
class JobMessage:
    """One restart of a measurement; fields as in `workers.measure.latency.LatencyRequest`."""

    candidates: tuple[JobCandidate, ...]
    audio: tuple[str, ...]
    audio_s: tuple[float, ...]
    threads: int
    min_runs: int
    max_s: float
    within: float
    details: bool
    gpu: bool = False

    @property
    def digests(self) -> frozenset[str]:
        """Of every file that the job needs."""
        of_candidates = (d for c in self.candidates for d in (c.tokens, *c.files.values()))
        return frozenset((*self.audio, *of_candidates))

    def to_json(self) -> str:
        """Canonical: equal messages are equal text. The usual features are not said: agents that
        know no others take such a message."""
        content = asdict(self)
        for candidate in content["candidates"]:
            for name, usual in _USUAL.items():
                if candidate[name] == usual:
                    del candidate[name]
        return json.dumps(content, sort_keys=True, allow_nan=False)


def parse_job(body: bytes) -> JobMessage:
    """A job from JSON.

    Raises:
        MessageFault: when anything of it is not as it should be.
    """
    given: Any = parse_json(body)
    faults: list[str] = []
    _check_job(given, "job", faults)
    if faults:
        more = len(faults) - _MOST_FAULTS
        hint = f"; and {more} more" if more > 0 else ""
        raise MessageFault("; ".join(faults[:_MOST_FAULTS]) + hint)
    job = dict(given)
    job["candidates"] = tuple(JobCandidate(**c) for c in job["candidates"])
    job["audio"], job["audio_s"] = tuple(job["audio"]), tuple(job["audio_s"])
    return JobMessage(**job)


def parse_json(body: bytes) -> object:
    """Strict JSON in UTF-8: no NaN, no name given twice, no nesting without end.

    Raises:
        MessageFault: for anything else.
    """
    try:
        return json.loads(
            body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_once_each
        )
    except MessageFault:
        raise
    except (ValueError, RecursionError) as error:
        raise MessageFault("is not JSON") from error


def _no_constant(name: str) -> None:
    raise MessageFault(f"{name} is not a number in JSON")


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise MessageFault("a name is given twice")
    return made


# A check says what is wrong with a value by adding to the faults.
_Check = Callable[[object, str, list[str]], None]


def _whole(low: int, high: int) -> _Check:
    def check(value: object, where: str, faults: list[str]) -> None:
        if type(value) is not int or not low <= value <= high:
            faults.append(f"{where}: has to be a whole number from {low} to {high}")

    return check


def _number(above: float, most: float) -> _Check:
    def check(value: object, where: str, faults: list[str]) -> None:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not above < value <= most
        ):  # nor NaN
            faults.append(f"{where}: has to be a number above {above:g}, at most {most:g}")

    return check


def _text(pattern: re.Pattern[str], what: str) -> _Check:
    def check(value: object, where: str, faults: list[str]) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            faults.append(f"{where}: is not a {what}")

    return check


def _choice(known: Iterable[str]) -> _Check:
    def check(value: object, where: str, faults: list[str]) -> None:
        if not isinstance(value, str) or value not in known:
            faults.append(f"{where}: has to be one of {', '.join(known)}")

    return check


def _flag(value: object, where: str, faults: list[str]) -> None:
    if not isinstance(value, bool):
        faults.append(f"{where}: has to be true or false")


def _list(item: _Check, most: int) -> _Check:
    def check(value: object, where: str, faults: list[str]) -> None:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            faults.append(f"{where}: has to be a list of 1 to {most}")
            return
        for i, one in enumerate(value):
            item(one, f"{where}[{i}]", faults)

    return check


def _record(known: Mapping[str, _Check], optional: Collection[str] = ()) -> _Check:
    def check(value: object, where: str, faults: list[str]) -> None:
        if not isinstance(value, dict):
            faults.append(f"{where}: has to be an object")
            return
        faults.extend(f"{where}: unknown field {_said(n)}" for n in value if n not in known)
        faults.extend(f"{where}: lacks {n}" for n in known if n not in {*value, *optional})
        for name, of_field in known.items():
            if name in value:
                of_field(value[name], f"{where}.{name}", faults)

    return check


def _said(name: str) -> str:
    """Bounded, and without characters that a terminal or a log would obey."""
    return ascii(name[:40])


_digest = _text(DIGEST, "SHA-256 in hexadecimal")
_file_name = _text(_FILE_NAME, "plain file name")


def _files(value: object, where: str, faults: list[str]) -> None:
    if not isinstance(value, dict) or not 1 <= len(value) <= 16:
        faults.append(f"{where}: has to be an object of 1 to 16 files")
        return
    for name, digest in value.items():
        _file_name(name, f"{where}: {_said(name)}", faults)
        _digest(digest, f"{where}: {_said(name)}", faults)


def _front_end(value: object, where: str, faults: list[str]) -> None:
    try:
        FrontEnd.of_code(value if isinstance(value, str) else "?")
    except ValueError:
        faults.append(f"{where}: is no front end")


def _of_setting(name: str, default: object) -> _Check:
    if isinstance(default, bool):
        return _flag
    if isinstance(default, int):
        return _whole(1, _MOST_THREADS)
    return _choice(_CHOICES[name])


_SETTINGS = {f.name: _of_setting(f.name, f.default) for f in fields(Settings)}
_candidate_fields = _record(
    {
        "backend": _text(_BACKEND, "name of a backend"),
        "files": _files,
        "main": _file_name,
        "tokens": _digest,
        "settings": _record(_SETTINGS, optional=_SETTINGS),
        "front_end": _front_end,
        "filter_bank": _choice(("kaldi", "fast")),
    },
    optional=_USUAL,
)


def _check_candidate(value: Any, where: str, faults: list[str]) -> None:
    before = len(faults)
    _candidate_fields(value, where, faults)
    if len(faults) == before and value["main"] not in value["files"]:
        faults.append(f"{where}.main: is none of the files")


_job_fields = _record(
    {
        "candidates": _list(_check_candidate, most=64),
        "audio": _list(_digest, most=256),
        "audio_s": _list(_number(0, 3600), most=256),
        "threads": _whole(1, _MOST_THREADS),
        "min_runs": _whole(1, 10_000),
        "max_s": _number(0, 3600),
        "within": _number(0, 1),
        "details": _flag,
        "gpu": _flag,
    },
    optional=("gpu",),
)


def _check_job(value: Any, where: str, faults: list[str]) -> None:
    before = len(faults)
    _job_fields(value, where, faults)
    if len(faults) == before and len(value["audio"]) != len(value["audio_s"]):
        faults.append(f"{where}: audio and audio_s differ in length")
