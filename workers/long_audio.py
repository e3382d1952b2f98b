"""A recording of any length, word by word: whole where it is short, else by stretches of speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workers.data.audio import open_audio
from workers.data.speech_segments import LONGEST_S, speech_segments
from workers.recognizer import Recognizer
from workers.transcript import Word

Progress = Callable[[float, float], None]  # seconds of the recording heard, and of how many


def words_of(recognizer: Recognizer, path: str | Path, progress: Progress) -> list[Word]:
    """The words of a recording, a file or behind a URL, with times.

    Raises:
        DataFault: for a recording that cannot be read.
        UserFault, WorkError: as the recogniser.
    """
    words: list[Word] = []
    with open_audio(path) as recording:
        if recording.duration_s <= LONGEST_S:
            words = recognizer.words(recording.whole())
        else:
            for segment in speech_segments(recording.blocks):
                words += recognizer.words(segment.samples, segment.start_s)
                progress(segment.start_s, recording.duration_s)
        progress(recording.duration_s, recording.duration_s)
    return words
