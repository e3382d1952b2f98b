"""Runs a teacher over the utterances of a corpus."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from workers.data.audio import read_audio
from workers.data.corpus import Corpus
from workers.data.sources import perturbed
from workers.data.text import decode
from workers.data.utterances import Utterance
from workers.errors import TeacherFault
from workers.teachers.base import Teacher, TeacherOutput, Transcriber, Transcript

_MOST_FAULTY = 0.02  # of the utterances a transcriber may fail on
_MOST_NAMED = 5
_SILENT_AT_FIRST = 20  # utterances of which a transcriber has to understand one


@dataclass(frozen=True)
class TeacherRunner:
    """A teacher and a corpus; `speeds` are those of its augmentations, the plain one first."""

    teacher: Teacher | Transcriber
    corpus: Corpus
    speeds: tuple[float, ...]

    def infer(self, utterance: Utterance, augmentation: int = 0) -> TeacherOutput:
        """Noisy augmentations are inferred without their noise: clean speech teaches better."""
        assert not isinstance(self.teacher, Transcriber)
        augmentation %= len(self.speeds)
        if not self.teacher.wants_samples:
            return self.teacher.infer(self.corpus.frames(utterance, augmentation))
        return self.teacher.infer(perturbed(_samples(utterance), self.speeds[augmentation]))

    def text_of(self, output: TeacherOutput) -> str:
        """What a network wrote of an utterance, written as the corpus writes."""
        assert not isinstance(self.teacher, Transcriber)
        ids = output.log_probs.argmax(-1).tolist()
        return self.corpus.normalise(decode(ids, self.teacher.symbols))

    def texts(self, utterances: Sequence[Utterance]) -> Iterator[str]:
        """Its transcript of each utterance, written as the corpus writes; empty where it failed.

        Raises:
            TeacherFault: naming the files, when a transcriber fails on more than a few.
        """
        if not isinstance(self.teacher, Transcriber):
            for utterance in utterances:
                yield self.text_of(self.infer(utterance))
            return
        if not utterances:
            return
        found = self.teacher.transcribe(map(_samples, utterances))
        written = frozenset("".join(self.corpus.symbols))
        for text in checked(found, [u.audio for u in utterances]):
            yield self.corpus.normalise(without_foreign_marks(text, written))


def checked(transcripts: Iterable[Transcript], files: Sequence[str]) -> Iterator[str]:
    """The texts, as long as few are at fault and not all of them empty."""
    faults: list[str] = []
    n_allowed = int(_MOST_FAULTY * len(files))
    is_silent = True
    for i, (transcript, file) in enumerate(zip(transcripts, files, strict=True), 1):
        if transcript.fault is not None:
            faults.append(f"{file}: {transcript.fault}")
        if len(faults) > n_allowed:
            named = "; ".join(faults[:_MOST_NAMED])
            raise TeacherFault(
                f"teacher: failed on {len(faults)} of the first {i} utterances, and may on "
                f"{n_allowed} of all {len(files)}: {named}"
            )
        is_silent = is_silent and not transcript.text.strip()
        if is_silent and i == min(_SILENT_AT_FIRST, len(files)):
            raise TeacherFault(
                f"teacher: wrote nothing for the first {i} utterances, of which {files[0]} is one; "
                "try it by hand on that"
            )
        yield transcript.text


def without_foreign_marks(text: str, written: frozenset[str]) -> str:
    """Without the punctuation that no transcript of the corpus holds: people dictate what Whisper
    puts commas into."""
    return "".join(
        " " if unicodedata.category(c).startswith("P") and c not in written else c for c in text
    )


def _samples(utterance: Utterance) -> np.ndarray:
    return read_audio(utterance.audio, utterance.offset_s, utterance.duration_s)
