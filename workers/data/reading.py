"""Reads what lists name: what each utterance is, and whether its features are kept in 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from spaces.files import why_not_a_file
from spaces.space import Data
from workers.data.corpora import BadLine, HowRead, Item, ManifestEntry
from workers.data.features import FRAMES_PER_SECOND, N_MELS
from workers.data.remote import is_file_of_its_own, opened
from workers.data.scan import How, Scanned, Stretch, scan
from workers.data.text import normalise
from workers.errors import DataFault

UNLABELLED = "unlabelled"
_MOST_WHOLE_BYTES = 20e9  # of features in float32: some 60 hours at three speeds
_HEADERS = 200  # that tell how long a list lasts

Progress = Callable[[str, int, int], None]  # (what, done, of)


@dataclass(frozen=True, slots=True)
class Checked:
    """One utterance that passed, its text normalised; `at` is where its features are, if they were
    computed with it (`scan.Scanned`)."""

    listed: ManifestEntry
    text: str
    duration_s: float
    digest: str
    at: tuple[str, int, int] | None = None


def sampled(items: list[Item], sample: int | None) -> list[Item]:
    if sample is None or len(items) <= sample:
        return items
    return [items[i * len(items) // sample] for i in range(sample)]


def are_compact(data: Data, listed: Mapping[str, Sequence[Item]]) -> bool:
    """Whether training features are kept in 8 bits of the plain audio alone."""
    if data.features != "auto":
        return data.features == "compact"
    spoken = [item for split in ("train", UNLABELLED) for item in listed.get(split, ())]
    n_copies = len(data.speeds) * (1 if data.noise_snr_db is None else 2)
    n_bytes = _about_s(spoken) * FRAMES_PER_SECOND * N_MELS * 4 * n_copies
    return n_bytes > _MOST_WHOLE_BYTES


def _about_s(items: Sequence[Item]) -> float:
    """How long they last: as listed, else as the headers of some of them say."""
    entries = [item for item in items if isinstance(item, ManifestEntry)]
    some = entries[:: max(1, len(entries) // _HEADERS)]
    lengths = [length for entry in some if (length := _length_s(entry)) is not None]
    return len(entries) * sum(lengths) / max(1, len(lengths))


def _length_s(entry: ManifestEntry) -> float | None:
    if entry.duration_s is not None:
        return entry.duration_s
    is_plain = is_file_of_its_own(entry.audio)
    if is_plain and why_not_a_file(Path(entry.audio)):  # a pipe would be waited for
        return None
    try:
        return float(soundfile.info(entry.audio if is_plain else opened(entry.audio)).duration)
    except (soundfile.LibsndfileError, DataFault, OSError, TypeError, RuntimeError):
        return None


@dataclass(frozen=True)
class Reading:
    """How the items of a list are read.

    Args:
        cache: where what is done is kept; None keeps nothing.
        has_features: whether features are computed with it.
    """

    data: HowRead
    what: str
    has_text: bool = True
    cache: Path | None = None
    has_features: bool = False
    denoise: bool = False

    def check(
        self, items: Sequence[Item], progress: Progress | None
    ) -> tuple[list[Checked], list[str]]:
        """What is good of them, and what is wrong with the others."""
        good: list[Checked] = []
        bad: list[str] = []
        read = [item for item in items if isinstance(item, ManifestEntry)]
        stretches = [Stretch(e.audio, e.offset_s, e.duration_s) for e in read]
        how = How(self.data.max_duration_s, self.has_features, self.denoise)
        scanned = scan(stretches, how, self.cache)
        done_s, shown = 0.0, _Shown.of(self, read, progress)
        for number, item in enumerate(items, 1):
            if isinstance(item, BadLine):
                result: Checked | str = f"{item.source}: {item.message}"
            else:
                found = next(scanned)
                result = self._judged(item, found)
                done_s += found.duration_s
            bad.append(result) if isinstance(result, str) else good.append(result)
            shown.tell(number, done_s)
        return good, bad

    def _judged(self, item: ManifestEntry, found: Scanned) -> Checked | str:
        text = normalise(item.text, self.data.lowercase, self.data.remove_punctuation)
        if not text and self.has_text:
            return f"{item.source}: its transcript is empty ({Path(item.audio).name})"
        if found.fault is not None:
            return f"{item.source}: {found.fault}"
        if item.duration_s is not None and found.duration_s < 0.9 * item.duration_s - 0.1:
            return (
                f"{item.source}: {item.audio}: is truncated ({found.duration_s:.2f} s of the "
                f"{item.duration_s:g} s listed)"
            )
        return Checked(item, text, found.duration_s, found.digest, found.at)


@dataclass(frozen=True)
class _Shown:
    """How far a reading is: by utterances, of much audio by its hours."""

    what: str
    n_items: int
    hours: float
    progress: Progress | None

    @classmethod
    def of(
        cls, reading: Reading, entries: Sequence[ManifestEntry], progress: Progress | None
    ) -> _Shown:
        hours = _about_s(entries) / 3600 if reading.cache is not None and progress else 0.0
        return cls(reading.what, len(entries), hours, progress)

    def tell(self, number: int, done_s: float) -> None:
        if self.progress is None:
            return
        if self.hours < 1:
            self.progress(self.what, number, max(number, self.n_items))
            return
        of = max(round(self.hours * 60), 1)
        done = of if number >= self.n_items else min(round(done_s / 60), of)
        self.progress(f"{self.what} (minutes of {self.hours:.0f} hours)", done, of)
