"""Runs a teacher over the utterances of a corpus."""

from __future__ import annotations

from dataclasses import dataclass

from workers.data.audio import read_audio
from workers.data.corpus import Corpus
from workers.data.prepare import perturbed
from workers.data.text import decode
from workers.data.utterances import Utterance
from workers.teachers.base import Teacher, TeacherOutput


@dataclass(frozen=True)
class TeacherRunner:
    """A teacher and a corpus; `speeds` are those of its augmentations, the plain one first."""

    teacher: Teacher
    corpus: Corpus
    speeds: tuple[float, ...]

    def infer(self, utterance: Utterance, augmentation: int = 0) -> TeacherOutput:
        """Noisy augmentations are inferred without their noise: clean speech teaches better."""
        augmentation %= len(self.speeds)
        if not self.teacher.wants_samples:
            return self.teacher.infer(self.corpus.frames(utterance, augmentation))
        samples = read_audio(utterance.audio, utterance.offset_s, utterance.duration_s)
        return self.teacher.infer(perturbed(samples, self.speeds[augmentation]))

    def text(self, utterance: Utterance) -> str:
        log_probs = self.infer(utterance).log_probs
        return decode(log_probs.argmax(-1).tolist(), self.teacher.symbols)
