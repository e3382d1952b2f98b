"""A teacher that is a folder of an offline model of sherpa-onnx, run in a process of its own.

sherpa-onnx ends its process where a model is not what it expects, so it is not run in ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from workers.conversation import Conversation
from workers.data.features import SAMPLE_RATE_HZ
from workers.errors import TeacherFault, UserFault, WorkError
from workers.teachers.base import Transcript

_LOAD_S = 300.0
_LEAST_RUN_S = 60.0
_RUN_S_PER_AUDIO_S = 20.0
_SECOND = np.zeros(SAMPLE_RATE_HZ, np.float32)


class SherpaTeacher:
    """A transducer, Paraformer, Whisper, SenseVoice, NeMo, Zipformer … of sherpa-onnx."""

    n_parameters: int | None = None

    def __init__(self, folder: Path, language: str | None, threads: int) -> None:
        """Load it.

        Raises:
            TeacherFault: for a folder that holds no such model.
            MissingExtra: naming the extra.
        """
        self._folder = folder
        self._request = {"folder": str(folder), "language": language or "", "threads": threads}
        self._conversation = Conversation("transcribe", threads=threads)
        self._ask(_SECOND, _LOAD_S)

    def transcribe(self, utterances: Iterable[np.ndarray]) -> Iterator[Transcript]:
        for samples in utterances:
            time_s = _LEAST_RUN_S + _RUN_S_PER_AUDIO_S * len(samples) / SAMPLE_RATE_HZ
            try:
                yield Transcript(self._ask(samples, time_s))
            except UserFault:
                raise
            except WorkError as error:  # it begins anew with the next utterance
                yield Transcript("", str(error))

    def close(self) -> None:
        """End the process."""
        self._conversation.close()

    def _ask(self, samples: np.ndarray, time_s: float) -> str:
        with tempfile.NamedTemporaryFile(suffix=".f32") as file:
            np.ascontiguousarray(samples, np.float32).tofile(file)
            file.flush()
            answer = self._conversation.ask({**self._request, "samples": file.name}, time_s)
        return str(answer)


def sherpa_teacher(folder: str, language: str | None, threads: int) -> SherpaTeacher:
    """The same, with what went wrong told as the teacher's fault.

    Raises:
        TeacherFault: for a folder that holds no such model.
    """
    if not Path(folder).is_dir():
        raise TeacherFault(f"sherpa: {folder}: no such folder")
    try:
        return SherpaTeacher(Path(folder), language, threads)
    except UserFault as fault:
        raise TeacherFault(f"sherpa: {fault}") from fault
    except WorkError as error:
        raise TeacherFault(f"sherpa: {folder}: cannot be loaded ({error})") from error
