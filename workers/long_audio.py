"""A recording of any length, word by word: whole where it is short, else by stretches of speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workers.data.audio import audio_blocks, duration_s_of, read_audio
from workers.data.speech_segments import LONGEST_S, speech_segments
from workers.recognizer import Recognizer
from workers.transcript import Word

Progress = Callable[[float, float], None]  # seconds of the recording heard, and of how many


def words_of(recognizer: Recognizer, path: Path, progress: Progress) -> list[Word]:
    """The words of a recording, with times.

    Raises:
        DataFault: for a recording that cannot be read.
        UserFault, WorkError: as the recogniser.
    """
    duration_s = duration_s_of(path)
    if duration_s <= LONGEST_S:
        words = recognizer.words(read_audio(path))
        progress(duration_s, duration_s)
        return words
    words = []
    for segment in speech_segments(audio_blocks(path)):
        words += recognizer.words(segment.samples, segment.start_s)
        progress(segment.start_s, duration_s)
    progress(duration_s, duration_s)
    return words
