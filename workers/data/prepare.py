"""Computes the features of a checked corpus once; trials only map the result.

A prepared corpus is a folder named by the digest of everything it was made from:

    features.f32    float32 [n_frames of all utterances and their augmentations, 80]
    index.json      per split, where each utterance and each augmented copy of it ("views") lies;
                    texts, tokens, statistics
    tokens.txt      what the students write
    bpe.model       for byte-pair tokens

The test set is a corpus of its own, whose dev set it is: what trains and chooses is given the name
of the other, and is the same whether there is a test set or not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr

from spaces.recipe import digest_of
from spaces.space import Data, Tokens
from workers.atomic import new_folder, whole_or_removed
from workers.data.audio import read_audio
from workers.data.bandwidth import used_bins
from workers.data.check import Checked, DataReport, Progress, check_data, refuse
from workers.data.features import N_MELS, SAMPLE_RATE_HZ, fbank
from workers.data.text import SentencePieceTokenizer, Tokenizer, write_tokens
from workers.data.utterances import IndexRow
from workers.errors import MissingExtra

_VERSION = 3

Augmentation = tuple[float, tuple[float, float] | None]  # speed, range of noise in dB


def prepare(
    data: Data,
    tokens: Tokens,
    subsampling_factor: int,
    cache: Path,
    progress: Progress | None = None,
) -> tuple[Path, DataReport]:
    """The prepared corpus of a space, made if it is not cached, and the report on its data, which
    names that of the test set.

    Args:
        subsampling_factor: of the students: a transcript has to fit their frames.

    Raises:
        DataRefused: with every fault, when there are more than the space allows.
    """
    report, checked, tokenizer = check_data(data, tokens, subsampling_factor, cache, progress)
    refuse(report)
    digest = _digest(data, tokens, checked, report.bandwidth_hz)
    folder = cache / "corpora" / digest[:32]
    if not whole_or_removed(folder):
        with new_folder(folder) as partial:
            _write(partial, digest, data, checked, tokenizer, report.bandwidth_hz, progress)
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
            plain: dict[str, list[Augmentation]] = {"dev": [(1.0, None)]}
            written = _write_features(
                partial, data, {"dev": test}, plain, tokenizer, progress, "features of test"
            )
            shared = json.loads((trained_on / "index.json").read_text(encoding="utf-8"))
            index = {**shared, "digest": digest, "train": [], **written.rows}
            write_tokens(tokenizer.symbols, partial / "tokens.txt")
            (partial / "index.json").write_text(json.dumps(index))
    return folder


def _digest(
    data: Data, tokens: Tokens, checked: dict[str, list[Checked]], bandwidth: float | None
) -> str:
    content = {split: [(c.digest, c.text) for c in checked[split]] for split in ("train", "dev")}
    settings = data.model_dump(
        mode="json",
        include={"denoise", "speeds", "noise_snr_db", "lowercase", "remove_punctuation"},
    )
    band = [] if bandwidth is None else [bandwidth]
    return digest_of([_VERSION, content, settings, tokens.model_dump(mode="json"), *band])


def augmentations_of(data: Data) -> list[Augmentation]:
    """(speed, noise range in dB or None) of each copy of the training audio; the first is plain."""
    speeds = sorted(data.speeds, key=lambda s: abs(s - 1.0))
    augmentations: list[Augmentation] = [(s, None) for s in speeds]
    if data.noise_snr_db is not None:
        augmentations += [(s, data.noise_snr_db) for s in speeds]
    return augmentations


def _write(
    folder: Path,
    digest: str,
    data: Data,
    checked: dict[str, list[Checked]],
    tokenizer: Tokenizer,
    bandwidth: float | None,
    progress: Progress | None,
) -> None:
    augmentations: dict[str, list[Augmentation]] = {
        "train": augmentations_of(data),
        "dev": [(1.0, None)],
    }
    written = _write_features(folder, data, checked, augmentations, tokenizer, progress)
    mean = written.moments[0] / written.n_plain
    variance = np.maximum(written.moments[1] / written.n_plain - mean**2, 1e-4)
    index: dict[str, object] = {
        "digest": digest,
        "views": {s: len(v) for s, v in augmentations.items()},
        **written.rows,
        "mean": mean.tolist(),
        "inv_std": (used_bins(bandwidth) / np.sqrt(variance)).tolist(),
        "symbols": list(tokenizer.symbols),
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
            for copies, row in zip(
                _features(checked[split], data, split == "train", of_split), rows, strict=True
            ):
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


def _features(
    good: list[Checked],
    data: Data,
    is_train: bool,
    augmentations: list[Augmentation],
) -> Iterator[list[np.ndarray]]:
    denoise = _denoiser() if data.denoise and is_train else None

    def of_one(c: Checked) -> list[np.ndarray]:
        u = c.listed
        samples = read_audio(u.audio, u.offset_s, u.duration_s)
        if denoise is not None:
            samples = denoise(samples)
        rng = np.random.default_rng(int(c.digest[:16], 16))
        return [fbank(_augmented(samples, speed, noise, rng)) for speed, noise in augmentations]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(of_one, good)


def _augmented(
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
