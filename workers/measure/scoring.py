"""What a model writes of the dev set, decoded by its own runtime in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np

from workers.atomic import new_folder, whole_or_removed
from workers.backends.environments import interpreter_of
from workers.data.corpus import Corpus
from workers.data.features import N_MELS
from workers.data.text import decode
from workers.data.utterances import Utterance
from workers.errors import DataFault
from workers.isolated_call import call

LEAST_SLICE_S = 25.0  # made of two utterances at least, so that there is something to compare
_N_SLICES = 8
_AT_A_TIME = 256
_N_LENGTHS = 4
_ROUND_FRAMES = 16


@dataclass(frozen=True)
class BatchDecoder:
    """A prepared model, ready to be run over features."""

    backend: str
    model: Path
    settings: Mapping[str, object]
    symbols: Sequence[str]
    mels: int = N_MELS
    shared: Callable[[], AbstractContextManager[None]] = nullcontext  # held while it computes
    report: Callable[[str, int, int], None] = lambda _what, _done, _of: None

    def texts(self, features: Path, at: Sequence[tuple[int, int]]) -> list[str]:
        """Text of each stretch (first frame, frames) of a file of float32 [frames, mels].

        Raises:
            UserFault: for a stretch longer than the model was prepared for.
            WorkError: when the runtime fails.
        """
        request = {
            "backend": self.backend,
            "model": str(self.model),
            "settings": dict(self.settings),
            "features": str(features),
            "mels": self.mels,
        }
        texts = []
        for first in range(0, len(at), _AT_A_TIME):
            self.report("utterances", first, len(at))
            some = [list(stretch) for stretch in at[first : first + _AT_A_TIME]]
            with self.shared():
                ids = call("recognise", {**request, "at": some}, interpreter_of(self.backend))
            texts += [decode(each, self.symbols) for each in ids]
        return texts


def dev_texts(decoder: BatchDecoder, corpus: Corpus) -> list[str]:
    """Text of each dev utterance, one at a time, as on a device."""
    at = [e.at[0] for e in corpus.dev]
    return [corpus.normalise(t) for t in decoder.texts(corpus.folder / "features.f32", at)]


def lengths_of(corpus: Corpus, long_audio: bool) -> tuple[int, ...]:
    """Frames that a runtime of fixed lengths is prepared for: quarters of the dev set."""
    frames = sorted(e.at[0][1] for e in corpus.dev)
    places = np.linspace(0, len(frames) - 1, _N_LENGTHS + 1)[1:].round().astype(int)
    lengths = {-(-frames[i] // _ROUND_FRAMES) * _ROUND_FRAMES for i in places}
    if long_audio:
        longest = max(n for _, n in long_slices(corpus).at)
        lengths.add(-(-longest // _ROUND_FRAMES) * _ROUND_FRAMES)
    return tuple(sorted(lengths))


@dataclass(frozen=True)
class Slices:
    """Dev utterances joined to stretches of half a minute, more where they are long."""

    features: Path
    at: tuple[tuple[int, int], ...]
    members: tuple[tuple[int, ...], ...]  # numbers of the dev utterances of each


def long_slices(corpus: Corpus) -> Slices:
    """The slices of a corpus, made once.

    Raises:
        DataFault: when dev holds less than one slice.
    """
    folder = corpus.folder / "long"
    if not whole_or_removed(folder):
        members = _members(corpus.dev)
        if not members:
            raise DataFault(
                f"gate.long_audio: dev holds less than two utterances or {LEAST_SLICE_S:g} s of "
                "audio: too little for a slice; give more of it or take the gate out"
            )
        with new_folder(folder) as partial:
            _write_slices(corpus, members, partial)
    index = json.loads((folder / "index.json").read_text())
    return Slices(
        folder / "features.f32",
        tuple((a, n) for a, n in index["at"]),
        tuple(tuple(m) for m in index["members"]),
    )


def _write_slices(corpus: Corpus, members: list[list[int]], folder: Path) -> None:
    at, begin = [], 0
    with (folder / "features.f32").open("wb") as file:
        for numbers in members:
            utterances = [corpus.dev[i] for i in numbers]
            samples = [corpus.samples(u) for u in utterances]
            features = corpus.features_of(np.concatenate(samples))
            features.tofile(file)
            at.append((begin, len(features)))
            begin += len(features)
    (folder / "index.json").write_text(json.dumps({"at": at, "members": members}))


def _members(dev: Sequence[Utterance]) -> list[list[int]]:
    slices: list[list[int]] = [[]]
    seconds = 0.0
    for i, entry in enumerate(dev):
        slices[-1].append(i)
        seconds += entry.seconds
        if seconds >= LEAST_SLICE_S and len(slices[-1]) > 1:
            slices.append([])
            seconds = 0.0
    return slices[:-1][:_N_SLICES]


def long_figures(decoder: BatchDecoder, corpus: Corpus, texts: Sequence[str]) -> dict[str, float]:
    """Errors over long slices, and how much more they are than the same utterances one by one."""
    slices = long_slices(corpus)
    written = [corpus.normalise(t) for t in decoder.texts(slices.features, slices.at)]
    spoken = [" ".join(corpus.dev[i].text for i in numbers) for numbers in slices.members]
    alone = [" ".join(texts[i] for i in numbers) for numbers in slices.members]
    long_wer = float(jiwer.wer(spoken, written))
    return {"long_wer": long_wer, "long_excess": long_wer - float(jiwer.wer(spoken, alone))}
