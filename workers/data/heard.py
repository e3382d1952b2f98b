"""A prepared corpus as another front end hears it: made when it is first asked for.

Its frames lie where those of the corpus lie, so that utterances, batches and the teacher's soft
targets are the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
from filelock import FileLock

from spaces.front_end import FrontEnd
from workers.atomic import new_folder, whole_or_removed
from workers.data.bandwidth import used_bins
from workers.data.corpus import Corpus
from workers.data.sources import SOURCES, Hearing, Source, features_of
from workers.data.utterances import Utterance
from workers.errors import DataRefused

Progress = Callable[[str, int, int], None]
Quiet = Callable[[], AbstractContextManager[None]]
_AT_A_TIME = 20  # recordings: some tenths of a second
_SAME = ("tokens.txt", "bpe.model")


def heard_by(
    front_end: FrontEnd,
    folder: Path,
    progress: Progress | None = None,
    quiet: Quiet = nullcontext,
) -> Path:
    """The folder of a prepared corpus as a front end hears it; one process makes it for all.

    Args:
        quiet: held while some recordings are worked on, so that measurements find their turn.

    Raises:
        DataFault: when a recording is gone, or was changed since.
        DataRefused: of a corpus whose features are compact.
    """
    if Corpus(folder).is_compact:
        raise DataRefused(
            "front_end: features of this much audio are kept as one front end hears it; take "
            "front_end: out, or keep them whole: data: {features: whole}"
        )
    heard = folder.with_name(front_end.heard(folder.name))
    with FileLock(heard.with_name(f".{heard.name}.lock")):
        if not whole_or_removed(heard):
            with new_folder(heard) as partial:
                _write(partial, Corpus(folder), front_end, progress, quiet)
    return heard


def _write(
    folder: Path, plain: Corpus, front_end: FrontEnd, progress: Progress | None, quiet: Quiet
) -> None:
    told = json.loads((plain.folder / SOURCES).read_text(encoding="utf-8"))
    shape = (len(plain.features), front_end.mels)
    features = np.memmap(folder / "features.f32", np.float32, "w+", shape=shape)
    splits = {"train": plain.train, "dev": plain.dev, "unlabelled": plain.unlabelled}
    done, total = 0, sum(map(len, splits.values()))
    for split, utterances in splits.items():
        if not utterances:
            continue
        of_split = told["splits"][split]
        augmentations = [
            (s, None if n is None else (n[0], n[1])) for s, n in of_split["augmentations"]
        ]
        sources = [
            Source(u.audio, u.offset_s, u.duration_s, digest)
            for u, digest in zip(utterances, of_split["digests"], strict=True)
        ]
        hearing = Hearing(augmentations, of_split["denoise"])
        for some in range(0, len(sources), _AT_A_TIME):
            part = slice(some, some + _AT_A_TIME)
            with quiet():
                made = features_of(sources[part], hearing, front_end, n_threads=1, is_checked=True)
                for u, copies in zip(utterances[part], made, strict=True):
                    for (start, count), copy in zip(u.at, copies, strict=True):
                        features[start : start + count] = _of_length(copy, count)
            done += len(utterances[part])
            if progress:
                progress(f"features ({front_end.label()})", done, total)
    features.flush()
    index = json.loads((plain.folder / "index.json").read_text(encoding="utf-8"))
    if plain.train:
        mean, inv_std = _moments(features, plain.train)
        used = used_bins(told["bandwidth_hz"], front_end)
        index |= {"mean": mean.tolist(), "inv_std": (used * inv_std).tolist()}
    index["front_end"] = asdict(front_end)
    (folder / "index.json").write_text(json.dumps(index))
    for name in _SAME:
        if (plain.folder / name).is_file():
            (folder / name).write_bytes((plain.folder / name).read_bytes())


def _of_length(features: np.ndarray, n_frames: int) -> np.ndarray:
    """At half the samples a count may be rounded otherwise: a last frame stands twice, or goes."""
    missing = max(0, n_frames - len(features))
    return np.pad(features, ((0, missing), (0, 0)), "edge")[:n_frames]


def _moments(
    features: np.ndarray, utterances: Sequence[Utterance]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and inverse standard deviation float64 [mels] of the plain training features."""
    sums, n_frames = np.zeros((2, features.shape[1])), 0
    for start, count in (u.at[0] for u in utterances):
        some = features[start : start + count].astype(np.float64)
        sums += some.sum(0), (some**2).sum(0)
        n_frames += count
    mean, square = sums / n_frames
    return mean, 1 / np.sqrt(np.maximum(square - mean**2, 1e-4))
