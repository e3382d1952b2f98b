"""Computes the features of a checked corpus once; trials only map the result.

A prepared corpus is a folder named by the digest of everything it was made from:

    features.f32    float32 [n_frames of all utterances and their augmentations, 80]; of much audio
                    (`data.features`) only of dev
    part-*.u8       of much audio: uint8 [n_frames, 80] of the plain training audio, shard by shard
    train.arrow     of much audio: what the index says of each utterance otherwise
    index.json      per split, where each utterance and each augmented copy of it ("views") lies;
                    texts, tokens, statistics
    tokens.txt      what the students write
    bpe.model       for byte-pair tokens
    sources.json    what the features were computed from, for other front ends: `heard.py`

The test set is a corpus of its own, whose dev set it is: what trains and chooses is given the name
of the other, and is the same whether there is a test set or not.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from spaces.recipe import digest_of
from spaces.space import Data, Tokens
from workers.atomic import new_folder, whole_or_removed, write_json
from workers.data.bandwidth import used_bins
from workers.data.check import DataReport, check_data, refuse
from workers.data.compact_features import link_parts, spans
from workers.data.features import N_MELS
from workers.data.index import write_index
from workers.data.reading import UNLABELLED, Checked, Progress
from workers.data.scan import shard_moments
from workers.data.sources import SOURCES, Augmentation, Hearing, Source, features_of
from workers.data.text import SentencePieceTokenizer, Tokenizer, write_tokens
from workers.data.utterances import IndexRow

_VERSION = 3
_PLAIN: list[Augmentation] = [(1.0, None)]


def prepare(
    data: Data,
    tokens: Tokens,
    subsampling_factor: int,
    cache: Path,
    progress: Progress | None = None,
    sample: int | None = None,
) -> tuple[Path, DataReport]:
    """The prepared corpus of a space, made if it is not cached, and the report on its data, which
    names that of the test set.

    Args:
        subsampling_factor: of the students: a transcript has to fit their frames.
        sample: of only so many items of each list, evenly over it.

    Raises:
        DataRefused: with every fault, when there are more than the space allows.
    """
    report, checked, tokenizer = check_data(
        data, tokens, subsampling_factor, cache, progress, sample
    )
    refuse(report)
    digest = _digest(data, tokens, checked, report.bandwidth_hz)
    folder = cache / "corpora" / digest[:32]
    if not whole_or_removed(folder):
        with new_folder(folder) as partial:
            _write(partial, cache, digest, data, checked, tokenizer, report.bandwidth_hz, progress)
    _say_sources(folder, data, checked, report.bandwidth_hz)
    if "test" in checked:
        test = _prepare_test(folder, digest, data, checked["test"], tokenizer, progress)
        report = replace(report, test=test)
    return folder, report


def _prepare_test(
    trained_on: Path,
    trained_digest: str,
    data: Data,
    test: list[Checked],
    tokenizer: Tokenizer,
    progress: Progress | None,
) -> Path:
    """With tokens and statistics of the corpus that is trained on."""
    digest = digest_of([trained_digest, "test", [(c.digest, c.text) for c in test]])
    folder = trained_on.with_name(digest[:32])
    if not whole_or_removed(folder):
        with new_folder(folder) as partial:
            written = _write_features(
                partial,
                data,
                {"dev": test},
                {"dev": _PLAIN},
                tokenizer,
                progress,
                "features of test",
            )
            shared = json.loads((trained_on / "index.json").read_text(encoding="utf-8"))
            shared.pop("compact", None)
            shared.pop("weights", None)
            index = {**shared, "digest": digest, "train": [], **written.rows}
            write_tokens(tokenizer.symbols, partial / "tokens.txt")
            (partial / "index.json").write_text(json.dumps(index))
    _say_sources(folder, data, {"train": [], "dev": test}, None)
    return folder


def _say_sources(
    folder: Path, data: Data, checked: dict[str, list[Checked]], bandwidth: float | None
) -> None:
    """Beside a corpus that an earlier version prepared as well."""
    if (folder / SOURCES).is_file():
        return
    hearings = {
        "train": Hearing(augmentations_of(data), data.denoise),
        "dev": Hearing(_PLAIN),
    }
    if UNLABELLED in checked:
        hearings[UNLABELLED] = hearings["train"]
    content = {
        "bandwidth_hz": bandwidth,
        "splits": {
            split: {
                "augmentations": hearing.augmentations,
                "denoise": hearing.denoise,
                "digests": [c.digest for c in checked[split]],
            }
            for split, hearing in hearings.items()
        },
    }
    write_json(folder / SOURCES, content)


def _weights(data: Data, checked: dict[str, list[Checked]]) -> dict[str, list[float]]:
    """How often an epoch holds each utterance of train, where that is not once."""
    if data.weights is None:
        return {}
    return {"weights": [data.weights[c.listed.of_list] for c in checked["train"]]}


def _digest(
    data: Data, tokens: Tokens, checked: dict[str, list[Checked]], bandwidth: float | None
) -> str:
    content = {split: [(c.digest, c.text) for c in checked[split]] for split in ("train", "dev")}
    settings = data.model_dump(
        mode="json",
        include={"denoise", "speeds", "noise_snr_db", "lowercase", "remove_punctuation"},
    )
    band = [] if bandwidth is None else [bandwidth]
    unlabelled = [c.digest for c in checked.get(UNLABELLED, ())]
    compact = ["compact"] if is_compact(checked) else []
    weights = [_weights(data, checked)] if data.weights is not None else []
    more = [*band, *([unlabelled] if unlabelled else []), *compact, *weights]
    return digest_of([_VERSION, content, settings, tokens.model_dump(mode="json"), *more])


def augmentations_of(data: Data) -> list[Augmentation]:
    """(speed, noise range in dB or None) of each copy of the training audio; the first is plain."""
    speeds = sorted(data.speeds, key=lambda s: abs(s - 1.0))
    augmentations: list[Augmentation] = [(s, None) for s in speeds]
    if data.noise_snr_db is not None:
        augmentations += [(s, data.noise_snr_db) for s in speeds]
    return augmentations


def _write(
    folder: Path,
    cache: Path,
    digest: str,
    data: Data,
    checked: dict[str, list[Checked]],
    tokenizer: Tokenizer,
    bandwidth: float | None,
    progress: Progress | None,
) -> None:
    augmentations: dict[str, list[Augmentation]] = {
        "train": augmentations_of(data),
        "dev": _PLAIN,
    }
    if UNLABELLED in checked:
        augmentations[UNLABELLED] = augmentations_of(data)
    if is_compact(checked):
        written = _write_compact(folder, cache, data, checked, tokenizer, progress)
    else:
        written = _write_features(folder, data, checked, augmentations, tokenizer, progress)
    mean = written.moments[0] / written.n_plain
    variance = np.maximum(written.moments[1] / written.n_plain - mean**2, 1e-4)
    index: dict[str, object] = {
        "digest": digest,
        "views": {s: len(v) for s, v in augmentations.items()},
        **written.rows,
        **written.more,
        "mean": mean.tolist(),
        "inv_std": (used_bins(bandwidth) / np.sqrt(variance)).tolist(),
        "symbols": list(tokenizer.symbols),
        **_weights(data, checked),
        "text": data.model_dump(include={"lowercase", "remove_punctuation"}),
    }
    write_tokens(tokenizer.symbols, folder / "tokens.txt")
    if isinstance(tokenizer, SentencePieceTokenizer):
        (folder / "bpe.model").write_bytes(tokenizer.model)
    (folder / "index.json").write_text(json.dumps(index))


@dataclass(frozen=True)
class _Written:
    """Where each utterance lies; `moments` are sums of the plain training features and of their
    squares, float64 [2, 80], over `n_plain` frames."""

    rows: dict[str, list[IndexRow]]
    moments: np.ndarray
    n_plain: int
    more: Mapping[str, object] = field(default_factory=dict)  # for the index


def is_compact(checked: dict[str, list[Checked]]) -> bool:
    """Whether features of what is trained on were computed when it was read."""
    return any(c.at is not None for c in checked["train"][:1])


def _write_compact(
    folder: Path,
    cache: Path,
    data: Data,
    checked: dict[str, list[Checked]],
    tokenizer: Tokenizer,
    progress: Progress | None,
) -> _Written:
    """The shards that were read become parts of the corpus; dev is kept whole."""
    shards: dict[str, int] = {}
    for split in _learnt_from(checked):
        for c in checked[split]:
            assert c.at is not None
            shards.setdefault(c.at[0], len(shards))
    places = [cache / "shards" / name for name in shards]
    frames = link_parts(places, folder)
    starts = dict(zip(shards, itertools.accumulate([0, *frames[:-1]]), strict=True))
    augmentations = augmentations_of(data)
    moments, n_plain = np.zeros((2, N_MELS)), 0
    for split in _learnt_from(checked):
        rows = (_compact_row(c, tokenizer, starts, augmentations) for c in checked[split])
        write_index(folder / f"{split}.arrow", rows)
    # Sums of whole shards: with the few utterances that were left out for what stands elsewhere.
    for name in {c.at[0]: None for c in checked["train"] if c.at is not None}:
        moments += shard_moments(cache / "shards" / name)
        n_plain += frames[shards[name]]
    dev = {"dev": checked["dev"]}
    whole = _write_features(folder, data, dev, {"dev": _PLAIN}, tokenizer, progress)
    told = {"parts": frames, "augmentations": augmentations}
    return _Written(whole.rows, moments, n_plain, {"compact": told})


def _learnt_from(checked: dict[str, list[Checked]]) -> list[str]:
    return [split for split in ("train", UNLABELLED) if split in checked]


def _compact_row(
    c: Checked, tokenizer: Tokenizer, starts: dict[str, int], augmentations: list[Augmentation]
) -> IndexRow:
    assert c.at is not None
    shard, first, n_frames = c.at
    row = _row(c, tokenizer)
    row["at"] += spans(starts[shard] + first, n_frames, augmentations)
    return row


def _write_features(
    folder: Path,
    data: Data,
    checked: dict[str, list[Checked]],
    augmentations: dict[str, list[Augmentation]],
    tokenizer: Tokenizer,
    progress: Progress | None,
    what: str = "features",
) -> _Written:
    total = sum(len(checked[s]) * len(v) for s, v in augmentations.items())
    done = position = 0
    moments = np.zeros((2, N_MELS))
    n_plain = 0
    index: dict[str, list[IndexRow]] = {}
    with (folder / "features.f32").open("wb") as file:
        for split, of_split in augmentations.items():
            rows = [_row(c, tokenizer) for c in checked[split]]
            hearing = Hearing(of_split, data.denoise and split != "dev")
            sources = [_source(c) for c in checked[split]]
            for copies, row in zip(features_of(sources, hearing), rows, strict=True):
                for number, features in enumerate(copies):
                    row["at"].append([position, len(features)])
                    position += len(features)
                    file.write(features.tobytes())
                    if split == "train" and number == 0:
                        moments += features.sum(0), (features.astype(np.float64) ** 2).sum(0)
                        n_plain += len(features)
                    done += 1
                if progress:
                    progress(what, done, total)
            index[split] = rows
    return _Written(index, moments, n_plain)


def _source(c: Checked) -> Source:
    return Source(c.listed.audio, c.listed.offset_s, c.listed.duration_s, c.digest)


def _row(c: Checked, tokenizer: Tokenizer) -> IndexRow:
    listed = c.listed
    return {
        "audio": listed.audio,
        "offset_s": listed.offset_s,
        "duration_s": listed.duration_s,
        "source": listed.source,
        "speaker": listed.speaker,
        "seconds": c.duration_s,
        "text": c.text,
        "ids": tokenizer.encode(c.text),
        "at": [],
    }
