"""Takes the figures of a bundle again, anywhere, and says one by one whether the promise holds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.bundle.promise import CONDITIONS, EXACT, Promise, digest_of_words, promises
from spaces.backends import backend_info
from spaces.errors import SpaceError
from spaces.space import Data, Target
from storage.artifacts import file_digest
from workers.data.audio import read_audio
from workers.data.check import check_list, split_paths
from workers.data.corpora import ListOptions
from workers.data.corpus import spread
from workers.data.text import normalise
from workers.errors import BundleFault
from workers.measure.accuracy import accuracy
from workers.measure.readings import timed_readings
from workers.measure.timed_audio import N_TIMED
from workers.models import size_mb
from workers.probe.machine import report
from workers.probe.request import Candidate, LatencyRequest
from workers.recognizer import MANIFEST, Recognizer, checked_files, copied_bundle, open_bundle
from workers.targets.reach import measure_on

_NOT_QUIET = "this machine was not quiet"
_EXPECTED = 0.95  # of promises with 95 % intervals that hold
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One promise: what was measured here, or why that says nothing."""

    promise: Promise
    measured: float | None
    why_not: str = ""

    @property
    def holds(self) -> bool | None:
        if self.measured is None or self.why_not:
            return None
        return self.promise.holds(self.measured)


@dataclass(frozen=True)
class Verification:
    """All of a bundle; `digest` is of its manifest, which holds those of its files."""

    digest: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def n_checked(self) -> int:
        return sum(row.holds is not None for row in self.rows)

    @property
    def n_held(self) -> int:
        return sum(row.holds is True for row in self.rows)

    @property
    def is_kept(self) -> bool:
        """Whether no more promises are broken than 95 % intervals are expected to be, or one; and
        none that is exact."""
        broken = [row for row in self.rows if row.holds is False]
        allowed = max(1, round((1 - _EXPECTED) * self.n_checked))
        return len(broken) <= allowed and all(r.promise.metric not in EXACT for r in broken)


@dataclass(frozen=True)
class _Spoken:
    samples: np.ndarray
    text: str


def manifest_digest(path: Path) -> str:
    """Of a bundle's manifest: who knows it knows every file.

    Raises:
        BundleFault: when a file is not the one that the bundle was made with, or is not listed.
    """
    with tempfile.TemporaryDirectory() as work:
        files = checked_files(path, Path(work))
        listed = json.loads(files[MANIFEST].read_text(encoding="utf-8")).get("files", {})
        folder = files[MANIFEST].parent
        strangers = sorted({p.name for p in folder.iterdir()} - {*listed, MANIFEST})
        if strangers:
            raise BundleFault(f"{path}: holds {', '.join(strangers)}, which it was not made with")
        return file_digest(files[MANIFEST])


def verify(
    path: Path,
    lists: Sequence[str],
    cache: Path,
    locks: Path,
    progress: Progress,
    *,
    is_timed: bool = True,
) -> Verification:
    """Check the files, then score and time the model.

    Args:
        lists: of the dev set that it was scored on; of the embedded corpus none, it is spoken anew.
        is_timed: whether times are taken.

    Raises:
        BundleFault: for a bundle that is not as it was made, or promises nothing.
    """
    digest = manifest_digest(path)
    with tempfile.TemporaryDirectory() as work:
        bundle = copied_bundle(path, Path(work))
        told = _told(path)
        here = told["conditions"]
        found = promises(told["measurements"]["student"], here["target"])
        files = [Path(work) / Path(str(name)).name for name in here["shipped"]]
        values: dict[str, float] = {"size_mb": sum(map(size_mb, files))}
        spoken, notes = _spoken(here, lists, cache, progress)
        if spoken:
            values |= _scored(path, here, spoken, progress)
        reason = _other_machine(here)
        if is_timed and spoken and reason is None:
            target = Target.model_validate(here["settings"])
            candidate = Candidate(
                backend=bundle.backend,
                model=str(bundle.main),
                tokens=str(bundle.main.parent / "tokens.txt"),
                settings=target.settings(),
                front_end=bundle.front_end.code,
                filter_bank=target.filter_bank,
            )
            values |= _timed(target, candidate, bundle.is_live, spoken, locks, Path(work))
    rows = [_row(p, values, spoken, reason, is_timed) for p in found]
    return Verification(digest, tuple(rows), tuple(notes))


def _row(
    promise: Promise,
    values: dict[str, float],
    spoken: Sequence[_Spoken],
    other_machine: str | None,
    is_timed: bool,
) -> Row:
    if promise.metric in values:
        is_disturbed = promise.is_timed and values.get("unsteady")
        return Row(promise, values[promise.metric], _NOT_QUIET if is_disturbed else "")
    if not spoken:
        return Row(promise, None, "needs the dev set")
    if promise.is_timed and other_machine is not None:
        return Row(promise, None, other_machine)
    if promise.is_timed and not is_timed:
        return Row(promise, None, "no times were taken")
    return Row(promise, None, "is not told here")


def _told(path: Path) -> dict[str, Any]:
    """What a bundle says of itself, of files that were checked."""
    content: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as work:
        files = checked_files(path, Path(work))
        for name in ("measurements.json", CONDITIONS):
            if name not in files:
                raise BundleFault(
                    f"{path}: promises nothing (it holds no {name}); export it again with this "
                    "version"
                )
            content[name.partition(".")[0]] = json.loads(files[name].read_text(encoding="utf-8"))
    return content


def _other_machine(here: dict[str, Any]) -> str | None:
    """Why times that are taken here say nothing of those that are promised."""
    machine, mine = here["machine"], asdict(report())
    for name in ("processor", "cores"):
        if name in machine and machine[name] != mine[name]:
            return f"is of {machine[name]}{' cores' if name == 'cores' else ''}: not this machine"
    return None


def _spoken(
    here: dict[str, Any], lists: Sequence[str], cache: Path, progress: Progress
) -> tuple[list[_Spoken], list[str]]:
    """The dev set, and what is to be said of it."""
    how = ListOptions(
        lowercase=here["lowercase"],
        remove_punctuation=here["remove_punctuation"],
        max_duration_s=here["max_duration_s"],
    )
    if not lists and here["synthetic"] is not None:
        try:
            data = Data.model_validate({"synthetic": here["synthetic"]})
        except (ValueError, SpaceError) as error:
            raise BundleFault(f"{CONDITIONS}: {error}") from error
        lists = split_paths(data, cache)["dev"]
    spoken, notes = [], []
    for listed in lists:
        good, bad = check_list(listed, how, progress)
        notes += bad
        for c in good:
            samples = read_audio(c.listed.audio, c.listed.offset_s, c.listed.duration_s)
            spoken.append(_Spoken(samples, c.text))
    words = [len(s.text.split()) for s in spoken]
    if spoken and here["dev_words"] not in (None, digest_of_words(words)):
        notes.append("this is not the dev set that the bundle was scored on: errors will differ")
    return spoken, notes


def _scored(
    path: Path, here: dict[str, Any], spoken: Sequence[_Spoken], progress: Progress
) -> dict[str, float]:
    """Errors of what it writes of the dev set."""
    recognizer: Recognizer = open_bundle(path)
    try:
        texts = []
        for done, s in enumerate(spoken, 1):
            said = recognizer.transcribe(s.samples)
            texts.append(normalise(said, here["lowercase"], here["remove_punctuation"]))
            progress("transcribed", done, len(spoken))
    finally:
        recognizer.session.close()
    found = asdict(accuracy([s.text for s in spoken], texts))
    return {metric: float(value) for metric, value in found.items() if value is not None}


def _timed(
    target: Target,
    candidate: Candidate,
    is_live: bool,
    spoken: Sequence[_Spoken],
    locks: Path,
    work: Path,
) -> dict[str, float]:
    """Times of the same utterances, taken in the same way."""
    chosen = spread(sorted(spoken, key=lambda s: len(s.samples)), N_TIMED)
    paths = []
    for i, s in enumerate(chosen):
        np.save(work / f"{i:02d}.npy", s.samples)
        paths.append(str(work / f"{i:02d}.npy"))
    request = LatencyRequest(
        candidates=(candidate,),
        audio=tuple(paths),
        audio_s=tuple(len(s.samples) / 16_000 for s in chosen),
        threads=target.threads,
        min_runs=target.runs,
        max_s=target.max_s,
        within=target.within,
        restarts=target.restarts,
        tries=target.tries,
        details=is_live,
        gpu=backend_info(target.backend).gpu,
    )
    (timed,) = measure_on(target, request, locks)
    readings = timed_readings(timed, "", stream_limit_ms=target.stream_limit_ms)
    return {"unsteady": float(bool(timed.unsteady)), **{r.metric: r.value for r in readings}}
