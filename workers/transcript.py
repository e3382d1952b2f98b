"""What was said, word by word, and how it is written down: text, JSON, SubRip and WebVTT."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

Form = Literal["text", "json", "srt", "vtt"]
FORMS: tuple[Form, ...] = ("text", "json", "srt", "vtt")
_CUE_S = 6.0  # the longest that a cue stays
_CUE_LETTERS = 84  # two lines of 42
_CUE_PAUSE_S = 0.8  # a longer one ends it


@dataclass(frozen=True)
class Word:
    """A word and when it was said, in seconds of the recording."""

    text: str
    start_s: float
    end_s: float


def text_of(words: Iterable[Word]) -> str:
    """As it is read."""
    return " ".join(word.text for word in words)


def written(words: list[Word], form: Form, audio: str) -> str:
    """A transcript in one of the forms, with the line breaks that end it."""
    if form == "text":
        return f"{text_of(words)}\n"
    if form == "json":
        told = {"audio": audio, "text": text_of(words), "words": [_rounded(word) for word in words]}
        return f"{json.dumps(told, ensure_ascii=False)}\n"
    cues = list(_cues(words))
    if form == "vtt":
        body = "\n".join(f"{_clock(c, '.')}\n{text_of(c)}\n" for c in cues)
        return f"WEBVTT\n\n{body}"
    return "\n".join(f"{i}\n{_clock(c, ',')}\n{text_of(c)}\n" for i, c in enumerate(cues, 1))


def _rounded(word: Word) -> dict[str, object]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(word).items()}


def _cues(words: list[Word]) -> Iterator[list[Word]]:
    """Words that are shown together."""
    cue: list[Word] = []
    for word in words:
        if cue and (
            word.start_s - cue[-1].end_s > _CUE_PAUSE_S
            or word.end_s - cue[0].start_s > _CUE_S
            or len(text_of([*cue, word])) > _CUE_LETTERS
        ):
            yield cue
            cue = []
        cue.append(word)
    if cue:
        yield cue


def _clock(cue: list[Word], point: str) -> str:
    return f"{_time(cue[0].start_s, point)} --> {_time(cue[-1].end_s, point)}"


def _time(seconds: float, point: str) -> str:
    ms = round(1000 * seconds)
    hours, minutes = ms // 3_600_000, ms // 60_000 % 60
    return f"{hours:02}:{minutes:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
