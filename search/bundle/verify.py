"""Takes the figures of a bundle again, anywhere, and says one by one whether the promise holds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from search.bundle.promise import CONDITIONS, Conditions, Promise, digest_of_words, promises
from spaces.backends import backend_info
from spaces.space import Data, Target
from storage.artifacts import file_digest
from workers.backends.environments import interpreter_of
from workers.data.audio import read_audio
from workers.data.check import check_list, split_paths
from workers.data.corpora import ListOptions
from workers.data.corpus import spread
from workers.data.text import normalise
from workers.errors import BundleFault
from workers.isolated_call import Bounds, call
from workers.measure.accuracy import accuracy
from workers.measure.readings import timed_readings
from workers.measure.timed_audio import N_TIMED
from workers.models import size_mb
from workers.probe.machine import report
from workers.probe.request import (
    Candidate,
    LatencyRequest,
    ProcessSample,
    process_samples_of,
)
from workers.recognizer import (
    FEATURES,
    MANIFEST,
    TOKENS,
    Recognizer,
    checked_files,
    copied_bundle,
    open_bundle,
)
from workers.targets.reach import measure_on

_MEASUREMENTS = "measurements.json"
_TOLD = (_MEASUREMENTS, CONDITIONS)
# Files of a bundle that are not loaded by its runtime.
_BESIDE = {
    *_TOLD,
    MANIFEST,
    TOKENS,
    FEATURES,
    "recipe.json",
    "steps.json",
    "CARD.md",
    "LICENSE-NOTICE.txt",
    "REPRODUCE.md",
    "reproduce.yaml",
}
_SEVERAL = 8  # timed figures, of which one may miss
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
        """Whether something was checked, every size and error holds, and of times no more are
        broken than 95 % intervals are expected to be, or one of several."""
        broken = [row for row in self.rows if row.holds is False]
        n_timed = sum(row.holds is not None and row.promise.is_timed for row in self.rows)
        allowed = max(int(n_timed >= _SEVERAL), int((1 - _EXPECTED) * n_timed))
        are_timed = all(row.promise.is_timed for row in broken)
        return self.n_checked > 0 and are_timed and len(broken) <= allowed


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
        here, found, shipped = _told(path)
        files = [Path(work) / name for name in shipped]
        values: dict[str, float] = {"size_mb": sum(map(size_mb, files))}
        spoken, notes = _spoken(here, lists, cache, progress)
        if spoken:
            values |= _scored(path, here, spoken, progress)
        reason = _other_machine(here)
        if is_timed and spoken and reason is None:
            target = here.settings.target()
            if target.backend != bundle.backend:
                raise BundleFault(f"{path}: is for {bundle.backend}, timed on {target.backend}")
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


def _told(path: Path) -> tuple[Conditions, list[Promise], list[str]]:
    """What a bundle says of itself, of files that were checked: conditions, promises, and the files
    that run, whose sizes count."""
    with tempfile.TemporaryDirectory() as work:
        files = checked_files(path, Path(work))
        texts = {n: files[n].read_text(encoding="utf-8") for n in _TOLD if n in files}
        if len(texts) < len(_TOLD):
            lacking = ", ".join(name for name in _TOLD if name not in texts)
            raise BundleFault(
                f"{path}: promises nothing (it holds no {lacking}); export it again with "
                "this version"
            )
    here = Conditions.read(texts[CONDITIONS], f"{path}: {CONDITIONS}")
    try:
        measured = json.loads(texts[_MEASUREMENTS])["student"]
        found = promises(measured, here.target)
    except (ValueError, KeyError, TypeError) as error:
        raise BundleFault(f"{path}: {_MEASUREMENTS}: is not what a bundle holds") from error
    if not found:
        raise BundleFault(f"{path}: promises nothing of {here.target}")
    return here, found, sorted(set(files) - _BESIDE)


def _other_machine(here: Conditions) -> str | None:
    """Why times that are taken here say nothing of those that are promised."""
    machine, mine = here.machine, asdict(report())
    for name in ("processor", "cores"):
        if name not in machine:
            return "it does not say of which machine"
        if machine[name] != mine[name]:
            return f"is of {machine[name]}{' cores' if name == 'cores' else ''}: not this machine"
    return None


def _spoken(
    here: Conditions, lists: Sequence[str], cache: Path, progress: Progress
) -> tuple[list[_Spoken], list[str]]:
    """The dev set, and what is to be said of it."""
    how = ListOptions(
        lowercase=here.lowercase,
        remove_punctuation=here.remove_punctuation,
        max_duration_s=here.max_duration_s,
    )
    if not lists and here.synthetic is not None:
        data = Data(synthetic=here.synthetic)
        lists = split_paths(data, cache)["dev"]
    spoken, notes = [], []
    for listed in lists:
        good, bad = check_list(listed, how, progress)
        notes += bad
        for c in good:
            samples = read_audio(c.listed.audio, c.listed.offset_s, c.listed.duration_s)
            spoken.append(_Spoken(samples, c.text))
    words = [len(s.text.split()) for s in spoken]
    if spoken and here.dev_words not in (None, digest_of_words(words)):
        notes.append("this is not the dev set that the bundle was scored on: errors will differ")
    return spoken, notes


def _scored(
    path: Path, here: Conditions, spoken: Sequence[_Spoken], progress: Progress
) -> dict[str, float]:
    """Errors of what it writes of the dev set."""
    recognizer: Recognizer = open_bundle(path)
    try:
        texts = []
        for done, s in enumerate(spoken, 1):
            said = recognizer.transcribe(s.samples)
            texts.append(normalise(said, here.lowercase, here.remove_punctuation))
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
    bounds = Bounds(memory_mb=psutil.virtual_memory().available // 1_000_000, folder=work)
    interpreter = interpreter_of(target.backend)

    def confined(request: LatencyRequest) -> list[ProcessSample]:
        answer = call("measure", asdict(request), interpreter, request.threads, bounds)
        return process_samples_of(answer)

    (timed,) = measure_on(target, request, locks, confined)
    readings = timed_readings(timed, "", stream_limit_ms=target.stream_limit_ms)
    return {"unsteady": float(bool(timed.unsteady)), **{r.metric: r.value for r in readings}}
