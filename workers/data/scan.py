"""Decodes what lists name, on all cores, a shard of it at a time; what is done is kept.

A shard is some hundred utterances that follow one another in a list. Its folder, named by the
digest of what it was made from (paths, stretches, sizes and times of change, and how it is heard),
holds

    rows.json    what each utterance is: digest of its samples and duration, or what is wrong
    plain.u8     uint8 [frames, 80]: its features in 8 bits (`compact.py`), where they are asked for

so that what was interrupted goes on with the shards that are missing, a list that grew at its end
costs what was added (but where it is by so much that larger shards are taken), and spaces on the
same audio share them. A shard with a recording that could not be reached is made anew next time.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spaces.recipe import digest_of
from workers.atomic import is_whole, new_folder, write_json
from workers.data.audio import DurationLimit, read_audio
from workers.data.compact import as_u8
from workers.data.features import N_MELS, SAMPLE_RATE_HZ
from workers.data.features_numpy import fbank_numpy
from workers.data.remote import UNREACHABLE, archive_of, stamp_of
from workers.data.sources import denoiser
from workers.errors import DataFault

ROWS, PLAIN = "rows.json", "plain.u8"
_NOT_FOR_GOOD = "faulty"
_VERSION = 1
_IN_SHARD = (256, 64, 16, 8)  # items: the most of which a list has hundreds of shards
_N_SHARDS = 400  # of a list: a process that is killed costs less than a hundredth of the work
_WORTH_PROCESSES = 2_000  # stretches
_AT_ONCE = 16  # questions to servers
_AHEAD = 4  # shards a core that are asked for before they are needed


class Stretch(NamedTuple):
    """What is to be decoded."""

    audio: str
    offset_s: float
    duration_s: float | None


@dataclass(frozen=True)
class How:
    """How stretches are heard.

    Args:
        max_duration_s: longer ones are faults.
        features: whether features are computed as well.
        denoise: whether noise is taken away before.
    """

    max_duration_s: float
    features: bool = False
    denoise: bool = False


@dataclass(frozen=True)
class Scanned:
    """A stretch as it is: `fault`, or digest and duration; `at` is where its features are, as
    folder of the shard, first frame and frames."""

    fault: str | None = None
    may_pass: bool = False  # the fault: it is of reaching the recording, not of what it holds
    digest: str = ""
    duration_s: float = 0.0
    at: tuple[str, int, int] | None = None


def scan(stretches: Sequence[Stretch], how: How, cache: Path | None) -> Iterator[Scanned]:
    """Decode stretches, in their order.

    Args:
        cache: where shards are kept; None keeps nothing.
    """
    if cache is None:
        with ThreadPoolExecutor(_n_cores()) as pool:
            yield from pool.map(lambda s: _heard(s, how)[0], stretches)
        return
    size = next((n for n in _IN_SHARD if len(stretches) >= n * _N_SHARDS), _IN_SHARD[-1])
    shards = [stretches[i : i + size] for i in range(0, len(stretches), size)]
    for folder in _made(shards, how, cache / "shards"):
        yield from _read(folder)


def _made(shards: list[Sequence[Stretch]], how: How, home: Path) -> Iterator[Path]:
    """The folders of shards, in order; those that are missing are made by as many processes as
    there are cores, some ahead of what is asked for."""
    n_cores = _n_cores()
    stamps = _stamps({archive_of(s.audio) for shard in shards for s in shard})
    folders = [home / _name(shard, how, stamps) for shard in shards]
    missing = {f: shard for f, shard in zip(folders, shards, strict=True) if not _is_done(f)}
    with _pool(sum(map(len, missing.values())), n_cores) as pool:
        asked: dict[Path, Future[None]] = {}
        left = iter(missing.items())
        for folder in folders:
            for other, shard in islice(left, n_cores * _AHEAD - len(asked)):
                asked[other] = pool.submit(make_shard, other, shard, how)
            if folder in asked:
                asked.pop(folder).result()
            yield folder


def _is_done(folder: Path) -> bool:
    return is_whole(folder) and not (folder / _NOT_FOR_GOOD).exists()


def _name(shard: Sequence[Stretch], how: How, stamps: Mapping[str, object]) -> str:
    made_of = [_VERSION, asdict(how), [(*s, stamps[archive_of(s.audio)]) for s in shard]]
    return digest_of(made_of)[:32]


def _pool(n_stretches: int, n_cores: int) -> Executor:
    """Processes, which take seconds to start, where there is more than that to do."""
    if n_stretches < _WORTH_PROCESSES:
        return ThreadPoolExecutor(n_cores)
    # not forked: threads of this process are no matter then
    return ProcessPoolExecutor(n_cores, multiprocessing.get_context("spawn"), _begin_process)


def _n_cores() -> int:
    """That this process may run on."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def _stamps(paths: Collection[str]) -> dict[str, tuple[object, ...]]:
    """What tells each file that was changed; servers are asked for several at once."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(paths, pool.map(_stamp, paths), strict=True))


def _stamp(path: str) -> tuple[object, ...]:
    """Tells a file that was changed."""
    try:
        return stamp_of(path)
    except (OSError, ValueError, ImportError):
        return (-1,)


def _begin_process() -> None:
    """One thread a process, which ends with whoever started it."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def make_shard(folder: Path, shard: Sequence[Stretch], how: How) -> None:
    """Decode a shard into its folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not _is_done(folder):
        shutil.rmtree(folder, ignore_errors=True)
    rows, moments, n_frames = [], np.zeros((2, N_MELS)), 0
    with new_folder(folder) as partial:
        with (partial / PLAIN).open("wb") as file:
            for stretch in shard:
                scanned, features = _heard(stretch, how)
                if features is None:
                    rows.append(scanned)
                    continue
                file.write(as_u8(features).tobytes())
                moments += moments_of(features)
                at = (folder.name, n_frames, len(features))
                rows.append(replace(scanned, at=at))
                n_frames += len(features)
        content = {"rows": [asdict(row) for row in rows], "moments": moments.tolist()}
        write_json(partial / ROWS, content)
    if any(row.may_pass for row in rows):
        (folder / _NOT_FOR_GOOD).touch()


def moments_of(features: np.ndarray) -> np.ndarray:
    """float64 [2, mels]: sums of features and of their squares."""
    exact = features.astype(np.float64)
    return np.stack([exact.sum(0), (exact**2).sum(0)])


def _heard(stretch: Stretch, how: How) -> tuple[Scanned, np.ndarray | None]:
    """A stretch, and its features where they are asked for."""
    try:
        limit = DurationLimit(how.max_duration_s, "data.max_duration_s")
        samples = read_audio(stretch.audio, stretch.offset_s, stretch.duration_s, limit)
    except DataFault as fault:
        return Scanned(str(fault), isinstance(fault.__cause__, UNREACHABLE)), None
    digest = hashlib.sha256(samples.tobytes()).hexdigest()
    scanned = Scanned(digest=digest, duration_s=len(samples) / SAMPLE_RATE_HZ)
    if not how.features:
        return scanned, None
    return scanned, fbank_numpy(denoiser()(samples) if how.denoise else samples)


def _read(folder: Path) -> Iterator[Scanned]:
    rows = json.loads((folder / ROWS).read_text(encoding="utf-8"))["rows"]
    for row in rows:
        at = row.pop("at")
        yield Scanned(**row, at=None if at is None else (at[0], at[1], at[2]))


def shard_moments(folder: Path) -> np.ndarray:
    """`moments_of` all features of a shard."""
    return np.array(json.loads((folder / ROWS).read_text(encoding="utf-8"))["moments"])
