"""Checks a corpus whole: every file, transcript and speaker, all faults in one report."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from spaces.space import Data, Tokens
from workers.data.audio import read_audio
from workers.data.bandwidth import bandwidth_hz
from workers.data.corpora import HowRead, Item, read_split, read_unlabelled
from workers.data.features import FRAMES_PER_SECOND, fbank
from workers.data.reading import UNLABELLED, Checked, Progress, Reading, are_compact, sampled
from workers.data.synthetic import synthetic_corpus
from workers.data.text import WORD_START, Tokenizer, Unencodable, make_tokenizer
from workers.errors import DataRefused
from workers.results import SplitStats

_SHOWN_FAULTS = 50
_SHOWN_OUTSIDE = 40
_PLACED = re.compile(r"(?s)(.+?):(\d+): (.+)")  # a fault of a line of a list
_MANY = 5_000  # items, from which on what is checked is kept
_BAND_SAMPLE = 40  # utterances that tell how far the sound of a corpus reaches


@dataclass(frozen=True)
class DataReport:
    """What a corpus is and what is wrong with it."""

    splits: dict[str, SplitStats]
    faults: tuple[str, ...]
    refused: str | None
    symbols: tuple[str, ...]
    bandwidth_hz: float | None = None  # where the sound of train ends; None where it fills the band
    notes: tuple[str, ...] = ()  # to be known, but no faults
    test: Path | None = None  # the prepared test set, where there is one and it is prepared
    train_share: float = 1.0  # of the list of train that was read

    def lines(self) -> list[str]:
        out = [
            f"{name}: {s.utterances} utterances, {s.hours * 60:.1f} min, {s.words} words, "
            f"{s.speakers or 'unknown'} speakers, longest {s.longest_s:.1f} s"
            for name, s in self.splits.items()
        ]
        out.append(f"tokens: {len(self.symbols)}")
        if self.bandwidth_hz is not None:
            out.append(band_line(self.bandwidth_hz))
        return [*out, *self.notes, *fault_lines(self.faults)]


def band_line(bandwidth_hz: float) -> str:
    """What it means that the sound of a corpus ends early."""
    return (
        f"train holds no sound above {bandwidth_hz / 1000:.1f} kHz (recorded at a lower rate?): "
        "students leave that band out, so that they do not depend on who resamples"
    )


def fault_lines(faults: tuple[str, ...]) -> list[str]:
    told = _alike_together(faults)
    shown = [f"  {fault}" for fault in told[:_SHOWN_FAULTS]]
    if len(told) > _SHOWN_FAULTS:
        shown.append(f"  … and {len(told) - _SHOWN_FAULTS} more")
    count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}:"
    return [count, *shown] if faults else ["no faults"]


def _alike_together(faults: Iterable[str]) -> list[str]:
    """What is wrong in the same way with many lines of a list is told once, with their number."""
    places: dict[tuple[str, str], list[str]] = {}
    for fault in faults:
        placed = _PLACED.fullmatch(fault)
        file, line, message = placed.groups() if placed else ("", "", fault)
        places.setdefault((file, message), []).append(line)
    told = []
    for (file, message), lines in places.items():
        more = f" (and {len(lines) - 1} more lines)" if len(lines) > 1 else ""
        told.append(f"{file}:{lines[0]}{more}: {message}" if file else message)
    return told


def split_paths(data: Data, cache: Path) -> dict[str, tuple[str, ...]]:
    """Where each split is listed; speaks the embedded corpus if it is asked for."""
    unlabelled = {} if data.unlabelled is None else {UNLABELLED: data.unlabelled}
    if data.synthetic is not None:
        spoken = synthetic_corpus(data.synthetic, cache)
        return {**{split: (str(path),) for split, path in spoken.items()}, **unlabelled}
    assert data.train is not None and data.dev is not None
    test = {} if data.test is None else {"test": data.test}
    return {"train": data.train, "dev": data.dev, **test, **unlabelled}


def check_data(
    data: Data,
    tokens: Tokens,
    subsampling_factor: int,
    cache: Path,
    progress: Progress | None = None,
    sample: int | None = None,
) -> tuple[DataReport, dict[str, list[Checked]], Tokenizer]:
    """Read every file of a corpus and name all that is wrong in one report.

    Args:
        subsampling_factor: of the students: a transcript has to fit their frames.
        sample: read only so many items of each list, evenly over it.

    Raises:
        DataRefused: when a list cannot be read at all.
    """
    checked: dict[str, list[Checked]] = {}
    faults: list[str] = []
    over_limit: list[str] = []
    whole = _listed(data, cache)
    listed = {split: sampled(items, sample) for split, items in whole.items()}
    told = [
        f"{split}: {len(listed[split]):,} of {len(items):,} items were read, evenly over the list "
        "(--all reads every one)"
        for split, items in whole.items()
        if len(listed[split]) < len(items)
    ]
    train_share = len(listed["train"]) / len(whole.pop("train"))
    whole.clear()
    is_compact = are_compact(data, listed)
    for split in list(listed):
        items = listed.pop(split)  # of hundreds of hours it is much
        has_features = is_compact and split in ("train", UNLABELLED)
        reading = Reading(
            data,
            f"checking {split}",
            has_text=split != UNLABELLED,
            cache=cache if is_compact or len(items) > _MANY else None,
            has_features=has_features,
            denoise=has_features and data.denoise,
        )
        good, bad = reading.check(items, progress)
        checked[split], contradictory = _without_contradictions(good)
        bad += contradictory
        faults += bad
        if len(bad) > data.max_faulty * len(items):
            over_limit.append(f"{len(bad)} of {len(items)} items of {split} are faulty")
        del items
    _check_splits(checked, data, faults, over_limit)
    notes = [note for split, good in checked.items() for note in _duplicates(split, good)]
    tokenizer, outside, unwritable = _tokens(tokens, checked, subsampling_factor)
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
        bandwidth_hz=_bandwidth_hz(checked["train"]),
        notes=(*told, *notes, *_outside_line(tokens, outside)),
        train_share=train_share,
    )
    return report, checked, tokenizer


def _bandwidth_hz(good: list[Checked]) -> float | None:
    listed = [c.listed for c in good[:: max(1, len(good) // _BAND_SAMPLE)][:_BAND_SAMPLE]]
    some = [fbank(read_audio(u.audio, u.offset_s, u.duration_s)) for u in listed]
    return bandwidth_hz(some) if some else None


def _check_splits(
    checked: dict[str, list[Checked]], data: Data, faults: list[str], over_limit: list[str]
) -> None:
    """No two splits have anything in common; what has is told. An utterance is left out of test,
    so that train and dev are what they are without one, else out of train."""
    for one, other in itertools.combinations(checked, 2):
        is_last = other in ("test", UNLABELLED)
        left_out, stays = (other, one) if is_last else (one, other)
        shared_audio = _shared_audio(checked, left_out, stays)
        if len(shared_audio) > data.max_faulty * max(1, len(checked[other])):
            over_limit.append(f"{len(shared_audio)} utterances are in {one} and {other}")
        faults += shared_audio.values()
        checked[left_out] = [c for c in checked[left_out] if c.digest not in shared_audio]
        if (one, other) == ("train", UNLABELLED):
            continue  # the same people may be heard there
        shared_speakers = _shared_speakers(checked, one, other)
        faults += shared_speakers
        if shared_speakers and not data.allow_shared_speakers:
            over_limit.append(
                f"{len(shared_speakers)} speakers are in {one} and {other} "
                "(if that is meant: data.allow_shared_speakers: true)"
            )


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


def check_list(
    path: str, how: HowRead, progress: Progress | None = None
) -> tuple[list[Checked], list[str]]:
    """Read every file of a list that no space names: what is good of it, and all that is not.

    Raises:
        DataRefused: when the list cannot be read at all.
    """
    reading = Reading(how, f"reading {Path(path).name}")
    good, bad = reading.check(read_split((path,), how), progress)
    kept, contradictory = _without_contradictions(good)
    return kept, [*bad, *contradictory]


def _listed(data: Data, cache: Path) -> dict[str, list[Item]]:
    """What the lists of each split name."""
    paths = split_paths(data, cache)
    return {
        split: read_unlabelled(lists) if split == UNLABELLED else read_split(lists, data)
        for split, lists in paths.items()
    }


def _without_contradictions(good: list[Checked]) -> tuple[list[Checked], list[str]]:
    """Those whose audio has one transcript; and a fault for each that has another elsewhere."""
    same: dict[str, list[Checked]] = {}
    for c in good:
        same.setdefault(c.digest, []).append(c)
    kept: list[Checked] = []
    faults: list[str] = []
    for c in good:
        other = next((o for o in same[c.digest] if o.text != c.text), None)
        if other is None:
            kept.append(c)
        else:
            faults.append(
                f"{c.listed.source}: {c.listed.audio}: has another transcript at "
                f"{other.listed.source}"
            )
    return kept, faults


def _duplicates(split: str, good: list[Checked]) -> list[str]:
    """A note, where the same audio is listed again with the same transcript."""
    first: dict[str, Checked] = {}
    again = [c for c in good if first.setdefault(c.digest, c) is not c]
    if not again:
        return []
    example = f"{again[0].listed.source} is {first[again[0].digest].listed.source}"
    return [f"{split}: {len(again)} of {len(good)} utterances are there before ({example})"]


def _shared_audio(checked: dict[str, list[Checked]], left_out: str, stays: str) -> dict[str, str]:
    """Fault by digest of utterances of one split that are in another too."""
    there = {c.digest: c.listed.source for c in checked[stays]}
    return {
        c.digest: f"{c.listed.source}: the same utterance is in {stays} ({there[c.digest]})"
        for c in checked[left_out]
        if c.digest in there
    }


def _shared_speakers(checked: dict[str, list[Checked]], one: str, other: str) -> list[str]:
    here, there = (
        Counter(c.listed.speaker for c in checked[split] if c.listed.speaker)
        for split in (one, other)
    )
    return [
        f"speaker {name}: in {one} ({here[name]} utterances) and in {other} ({there[name]})"
        for name in sorted(here.keys() & there.keys())
    ]


def _tokens(
    config: Tokens, checked: dict[str, list[Checked]], subsampling_factor: int
) -> tuple[Tokenizer, tuple[str, ...], dict[str, list[str]]]:
    """Tokens from the training transcripts, and what of each split they cannot write."""
    texts = [c.text for c in checked["train"] or checked["dev"]] or ["a"]
    try:
        tokenizer = make_tokenizer(config.kind, texts, config.vocabulary)
    except Unencodable as error:
        raise DataRefused(f"tokens: {error}") from error
    faults: dict[str, list[str]] = {split: [] for split in checked}
    outside: set[str] = set()
    units = _units_of(config)
    known = {unit for symbol in tokenizer.symbols[1:] for unit in units(symbol)}
    for split, good in checked.items():
        kept = []
        for c in good:
            outside |= units(c.text) - known
            problem = _token_fault(tokenizer, c, subsampling_factor)
            if problem is None:
                kept.append(c)
            else:
                faults[split].append(f"{c.listed.source}: {problem}")
        checked[split] = kept
    return tokenizer, tuple(sorted(outside)), faults


def _outside_line(config: Tokens, outside: tuple[str, ...]) -> list[str]:
    if not outside:
        return []
    what = "words" if config.kind == "words" else "characters"
    n_more = len(outside) - _SHOWN_OUTSIDE
    more = f" … and {n_more} more" if n_more > 0 else ""
    return [f"{what} outside the token set: {' '.join(outside[:_SHOWN_OUTSIDE])}{more}"]


def _units_of(config: Tokens) -> Callable[[str], set[str]]:
    """Splits a text into what the tokens have to cover: its words, or its characters."""
    if config.kind == "words":
        return lambda text: set(text.replace(WORD_START, " ").split())
    return lambda text: set(text) - {" "}


def _token_fault(tokenizer: Tokenizer, c: Checked, subsampling_factor: int) -> str | None:
    try:
        ids = tokenizer.encode(c.text)
    except Unencodable as error:
        return f"{error}, which is made from the transcripts of train"
    repeats = sum(a == b for a, b in itertools.pairwise(ids))
    n_steps = round(c.duration_s * FRAMES_PER_SECOND / subsampling_factor)
    if len(ids) + repeats > n_steps:
        return (
            f"{Path(c.listed.audio).name} lasts {c.duration_s:.2f} s ({n_steps} output steps), "
            f"too short for the {len(ids)} tokens of its transcript"
        )
    return None


def _stats(good: list[Checked]) -> SplitStats:
    return SplitStats(
        utterances=len(good),
        hours=sum(c.duration_s for c in good) / 3600,
        words=sum(len(c.text.split()) for c in good),
        speakers=len({c.listed.speaker for c in good if c.listed.speaker}),
        longest_s=max((c.duration_s for c in good), default=0.0),
    )
