"""Checks a corpus whole, then computes its features once; trials only map the result.

A prepared corpus is a folder named by the digest of everything it was made from:

    features.f32    float32 [n_frames of all utterances and views, 80]
    index.json      per split and view, where each utterance lies; texts, tokens, statistics
    tokens.txt      what the students write
    bpe.model       for byte-pair tokens
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from spaces.recipe import digest_of
from spaces.space import Data, Space, Tokens
from workers.data.audio import read_audio
from workers.data.corpora import BadLine, Utterance, read_split
from workers.data.features import N_MELS, SAMPLE_RATE_HZ, fbank
from workers.data.synthetic import synthetic_corpus
from workers.data.text import (
    Pieces,
    Tokenizer,
    Unencodable,
    make_tokenizer,
    normalise,
    write_tokens,
)
from workers.errors import DataFault, DataRefused, MissingExtra

_VERSION = 3
SUBSAMPLING = 4
_SHOWN_FAULTS = 50

Progress = Callable[[str, int, int], None]  # (what, done, of)
View = tuple[float, tuple[float, float] | None]  # speed, range of noise in dB


@dataclass(frozen=True)
class SplitStats:
    """What one split holds, faulty items left out."""

    utterances: int
    hours: float
    words: int
    speakers: int
    longest_s: float


@dataclass(frozen=True)
class DataReport:
    """What a corpus is and what is wrong with it."""

    splits: dict[str, SplitStats]
    faults: tuple[str, ...]
    refused: str | None
    symbols: tuple[str, ...]
    unknown_characters: tuple[str, ...]

    def lines(self) -> list[str]:
        out = [
            f"{name}: {s.utterances} utterances, {s.hours * 60:.1f} min, {s.words} words, "
            f"{s.speakers or 'unknown'} speakers, longest {s.longest_s:.1f} s"
            for name, s in self.splits.items()
        ]
        out.append(f"tokens: {len(self.symbols)}")
        if self.unknown_characters:
            out.append(f"characters outside the token set: {' '.join(self.unknown_characters)}")
        out += fault_lines(self.faults)
        return out


def fault_lines(faults: tuple[str, ...]) -> list[str]:
    shown = [f"  {fault}" for fault in faults[:_SHOWN_FAULTS]]
    if len(faults) > _SHOWN_FAULTS:
        shown.append(f"  … and {len(faults) - _SHOWN_FAULTS} more")
    count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}:"
    return [count, *shown] if faults else ["no faults"]


@dataclass(frozen=True)
class _Checked:
    """One utterance that passed, its text normalised."""

    utterance: Utterance
    text: str
    duration_s: float
    digest: str


def split_paths(data: Data, cache: Path) -> dict[str, tuple[str, ...]]:
    """Where each split is listed; speaks the embedded corpus if it is asked for."""
    if data.synthetic is not None:
        train, dev = synthetic_corpus(data.synthetic, cache)
        return {"train": (str(train),), "dev": (str(dev),)}
    assert data.train is not None and data.dev is not None
    return {"train": data.train, "dev": data.dev}


def check_data(
    space: Space, cache: Path, progress: Progress | None = None
) -> tuple[DataReport, dict[str, list[_Checked]], Tokenizer]:
    """Read every file of a corpus and name all that is wrong in one report.

    Raises:
        DataRefused: when a list cannot be read at all.
    """
    data = space.data
    checked: dict[str, list[_Checked]] = {}
    faults: list[str] = []
    over_limit = []
    for split, paths in split_paths(data, cache).items():
        items = read_split(paths, data)
        good, bad = _check_items(items, data, f"checking {split}", progress)
        checked[split] = good
        faults += bad
        if len(bad) > data.max_faulty * len(items):
            over_limit.append(f"{len(bad)} of {len(items)} items of {split} are faulty")
    shared_audio = _shared_audio(checked)
    if len(shared_audio) > data.max_faulty * max(1, len(checked["dev"])):
        over_limit.append(f"{len(shared_audio)} utterances are in train and dev")
    faults += shared_audio.values()
    checked["train"] = [c for c in checked["train"] if c.digest not in shared_audio]
    shared_speakers = _shared_speakers(checked)
    faults += shared_speakers
    if shared_speakers and not data.allow_shared_speakers:
        over_limit.append(
            f"{len(shared_speakers)} speakers are in train and dev "
            "(if that is meant: data.allow_shared_speakers: true)"
        )
    tokenizer, unknown, unwritable = _tokens(space.tokens, checked)
    for split, bad in unwritable.items():
        faults += bad
        of = len(bad) + len(checked[split])
        if len(bad) > data.max_faulty * of:
            over_limit.append(f"{len(bad)} of {of} transcripts of {split} do not fit the tokens")
    for split, good in checked.items():
        if not good:
            over_limit.append(f"{split} holds no usable utterance")
    report = DataReport(
        splits={split: _stats(good) for split, good in checked.items()},
        faults=tuple(faults),
        refused=_refusal(over_limit, data.max_faulty),
        symbols=tokenizer.symbols,
        unknown_characters=unknown,
    )
    return report, checked, tokenizer


def _refusal(over_limit: list[str], max_faulty: float) -> str | None:
    if not over_limit:
        return None
    advice = f"mend them, or raise data.max_faulty (now {max_faulty:.2%} of a split)"
    return "; ".join([*over_limit, advice])


def refuse(report: DataReport) -> None:
    """Raise DataRefused with the whole report if a limit was passed."""
    if report.refused is not None:
        lines = [f"the data is refused: {report.refused}", *fault_lines(report.faults)]
        raise DataRefused("\n".join(lines))


def _check_items(
    items: list[Utterance | BadLine], data: Data, what: str, progress: Progress | None
) -> tuple[list[_Checked], list[str]]:
    good: list[_Checked] = []
    bad: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, result in enumerate(pool.map(lambda item: _check_item(item, data), items)):
            if progress:
                progress(what, i + 1, len(items))
            if isinstance(result, str):
                bad.append(result)
            else:
                good.append(result)
    return good, bad


def _check_item(item: Utterance | BadLine, data: Data) -> _Checked | str:
    if isinstance(item, BadLine):
        return f"{item.source}: {item.message}"
    text = normalise(item.text, data.lowercase, data.remove_punctuation)
    if not text:
        return f"{item.source}: its transcript is empty ({Path(item.audio).name})"
    try:
        samples = read_audio(item.audio, item.offset_s, item.duration_s)
    except DataFault as fault:
        return f"{item.source}: {fault}"
    duration_s = len(samples) / SAMPLE_RATE_HZ
    if duration_s > data.max_duration_s:
        return (
            f"{item.source}: {item.audio}: lasts {duration_s:.1f} s, above data.max_duration_s "
            f"({data.max_duration_s:g} s)"
        )
    if item.duration_s is not None and duration_s < 0.9 * item.duration_s - 0.1:
        return (
            f"{item.source}: {item.audio}: is truncated ({duration_s:.2f} s of the "
            f"{item.duration_s:g} s listed)"
        )
    digest = hashlib.sha256(samples.tobytes()).hexdigest()
    return _Checked(item, text, duration_s, digest)


def _shared_audio(checked: dict[str, list[_Checked]]) -> dict[str, str]:
    """Fault by digest of utterances that are in train and in dev."""
    dev = {c.digest: c for c in checked["dev"]}
    return {
        c.digest: f"{c.utterance.source}: the same utterance is in dev "
        f"({dev[c.digest].utterance.source})"
        for c in checked["train"]
        if c.digest in dev
    }


def _shared_speakers(checked: dict[str, list[_Checked]]) -> list[str]:
    counts = {
        split: Counter(c.utterance.speaker for c in good if c.utterance.speaker)
        for split, good in checked.items()
    }
    return [
        f"speaker {name}: in train ({counts['train'][name]} utterances) and in dev "
        f"({counts['dev'][name]})"
        for name in sorted(counts["train"].keys() & counts["dev"].keys())
    ]


def _tokens(
    config: Tokens, checked: dict[str, list[_Checked]]
) -> tuple[Tokenizer, tuple[str, ...], dict[str, list[str]]]:
    """Tokens from the training transcripts, and what of each split they cannot write."""
    texts = [c.text for c in checked["train"] or checked["dev"]] or ["a"]
    try:
        tokenizer = make_tokenizer(config.kind, texts, config.vocabulary)
    except Unencodable as error:
        raise DataRefused(f"tokens: {error}") from error
    faults: dict[str, list[str]] = {split: [] for split in checked}
    characters: set[str] = set()
    known = set("".join(tokenizer.symbols[1:])) | {" "}
    for split, good in checked.items():
        kept = []
        for c in good:
            characters |= set(c.text) - known
            problem = _token_fault(tokenizer, c)
            if problem is None:
                kept.append(c)
            else:
                faults[split].append(f"{c.utterance.source}: {problem}")
        checked[split] = kept
    return tokenizer, tuple(sorted(characters)), faults


def _token_fault(tokenizer: Tokenizer, c: _Checked) -> str | None:
    try:
        ids = tokenizer.encode(c.text)
    except Unencodable as error:
        return f"{error}, which is made from the transcripts of train"
    repeats = sum(a == b for a, b in itertools.pairwise(ids))
    n_steps = round(c.duration_s * 100 / SUBSAMPLING)
    if len(ids) + repeats > n_steps:
        return (
            f"{Path(c.utterance.audio).name} lasts {c.duration_s:.2f} s ({n_steps} output steps), "
            f"too short for the {len(ids)} tokens of its transcript"
        )
    return None


def _stats(good: list[_Checked]) -> SplitStats:
    return SplitStats(
        utterances=len(good),
        hours=sum(c.duration_s for c in good) / 3600,
        words=sum(len(c.text.split()) for c in good),
        speakers=len({c.utterance.speaker for c in good if c.utterance.speaker}),
        longest_s=max((c.duration_s for c in good), default=0.0),
    )


def prepare(space: Space, cache: Path, progress: Progress | None = None) -> tuple[Path, DataReport]:
    """The prepared corpus of a space, made if it is not cached, and the report on its data.

    Raises:
        DataRefused: with every fault, when there are more than the space allows.
    """
    report, checked, tokenizer = check_data(space, cache, progress)
    refuse(report)
    digest = _digest(space, checked)
    folder = cache / "corpora" / digest[:32]
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.partial")
        partial.mkdir(parents=True)
        _write(partial, digest, space.data, checked, tokenizer, progress)
        try:
            partial.rename(folder)
        except OSError:  # another process was first with the same content
            shutil.rmtree(partial)
    return folder, report


def _digest(space: Space, checked: dict[str, list[_Checked]]) -> str:
    content = {split: [(c.digest, c.text) for c in good] for split, good in checked.items()}
    settings = space.data.model_dump(
        mode="json",
        include={"denoise", "speeds", "noise_snr_db", "lowercase", "remove_punctuation"},
    )
    return digest_of([_VERSION, content, settings, space.tokens.model_dump(mode="json")])


def views_of(data: Data) -> list[View]:
    """(speed, noise range in dB or None) of each copy of the training audio; the first is plain."""
    speeds = sorted(data.speeds, key=lambda s: abs(s - 1.0))
    views: list[View] = [(s, None) for s in speeds]
    if data.noise_snr_db is not None:
        views += [(s, data.noise_snr_db) for s in speeds]
    return views


def _write(
    folder: Path,
    digest: str,
    data: Data,
    checked: dict[str, list[_Checked]],
    tokenizer: Tokenizer,
    progress: Progress | None,
) -> None:
    views: dict[str, list[View]] = {"train": views_of(data), "dev": [(1.0, None)]}
    total = sum(len(checked[s]) * len(v) for s, v in views.items())
    index: dict[str, Any] = {"digest": digest, "views": {s: len(v) for s, v in views.items()}}
    done = position = 0
    moments = np.zeros((2, N_MELS))
    n_plain = 0
    with (folder / "features.f32").open("wb") as file:
        for split, split_views in views.items():
            rows = [_entry(c, tokenizer) for c in checked[split]]
            for features_of_views, row in zip(
                _features(checked[split], data, split == "train", split_views), rows, strict=True
            ):
                for view, features in enumerate(features_of_views):
                    row["at"].append([position, len(features)])
                    position += len(features)
                    file.write(features.tobytes())
                    if split == "train" and view == 0:
                        moments += features.sum(0), (features.astype(np.float64) ** 2).sum(0)
                        n_plain += len(features)
                    done += 1
                if progress:
                    progress("features", done, total)
            index[split] = rows
    mean = moments[0] / n_plain
    variance = np.maximum(moments[1] / n_plain - mean**2, 1e-4)
    index["mean"] = mean.tolist()
    index["inv_std"] = (1 / np.sqrt(variance)).tolist()
    index["symbols"] = list(tokenizer.symbols)
    index["text"] = data.model_dump(include={"lowercase", "remove_punctuation"})
    write_tokens(tokenizer.symbols, folder / "tokens.txt")
    if isinstance(tokenizer, Pieces):
        (folder / "bpe.model").write_bytes(tokenizer.model)
    (folder / "index.json").write_text(json.dumps(index))


def _entry(c: _Checked, tokenizer: Tokenizer) -> dict[str, Any]:
    u = asdict(c.utterance)
    return {
        **{k: u[k] for k in ("audio", "offset_s", "duration_s", "source", "speaker")},
        "seconds": c.duration_s,
        "text": c.text,
        "ids": tokenizer.encode(c.text),
        "at": [],
    }


def _features(
    good: list[_Checked],
    data: Data,
    is_train: bool,
    views: list[View],
) -> Iterator[list[np.ndarray]]:
    denoise = _denoiser() if data.denoise and is_train else None

    def of_one(c: _Checked) -> list[np.ndarray]:
        u = c.utterance
        samples = read_audio(u.audio, u.offset_s, u.duration_s)
        if denoise is not None:
            samples = denoise(samples)
        rng = np.random.default_rng(int(c.digest[:16], 16))
        return [fbank(_as_view(samples, speed, noise, rng)) for speed, noise in views]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(of_one, good)


def _as_view(
    samples: np.ndarray,
    speed: float,
    noise_db: tuple[float, float] | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Another speed, then white noise."""
    samples = perturbed(samples, speed)
    if noise_db is not None:
        power = float(np.mean(samples**2)) / 10 ** (rng.uniform(*noise_db) / 10)
        samples = samples + rng.standard_normal(len(samples)) * np.sqrt(power)
    return np.asarray(samples, np.float32)


def perturbed(samples: np.ndarray, speed: float) -> np.ndarray:
    """Speed perturbation by resampling (Ko et al., Interspeech 2015)."""
    if speed == 1.0:
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ), np.float32)


def _denoiser() -> Callable[[np.ndarray], np.ndarray]:
    try:
        import noisereduce
    except ModuleNotFoundError as error:
        raise MissingExtra("data.denoise", "denoise") from error
    return lambda samples: np.asarray(
        noisereduce.reduce_noise(y=samples, sr=SAMPLE_RATE_HZ), np.float32
    )
