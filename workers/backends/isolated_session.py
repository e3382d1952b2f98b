"""A session of a runtime in a process of its own, for models that may be anybody's.

Whatever they do to their runtime, they do it to that process, which is confined to the folder of
its model. Audio is read and text is written on this side.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from spaces.backends import backend_info
from workers.backends.base import Settings
from workers.backends.environments import interpreter_of
from workers.conversation import Conversation
from workers.data.features import FRAMES_PER_SECOND
from workers.errors import Killed, UserFault, WorkError
from workers.isolated_call import Answer, Bounds, Request

LOAD_S = 300.0  # a runtime may build its engine then
LEAST_RUN_S = 60.0
RUN_S_PER_AUDIO_S = 10.0  # beside that; who is slower than this is of no use
_MOST_ANSWER_BYTES = 16_000_000  # an hour is a tenth of that


@dataclass(frozen=True)
class Heard:
    """The likeliest symbol of each output frame, and how many symbols the model writes."""

    ids: tuple[int, ...]
    n_symbols: int


class IsolatedSession:
    """A model, loaded. The process begins anew after one that crashed or hung was ended."""

    def __init__(self, backend: str, model: Path, settings: Settings, shown_as: Path) -> None:
        """Load a model.

        Args:
            model: its main file, in a folder of its own, which goes with the session.
            shown_as: what that folder is called in messages.

        Raises:
            UserFault: for a backend that is not installed, or a file that it cannot load.
        """
        self._backend, self._folder, self._shown_as = backend, model.parent, shown_as
        self._request = {"backend": backend, "model": str(model), "settings": asdict(settings)}
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._conversation = Conversation(
            "listen", interpreter_of(backend), settings.threads, _bounds(backend, self._folder)
        )
        try:
            self._ask({"features": None}, LOAD_S)
        except UserFault:
            raise
        except WorkError as error:
            raise UserFault(f"{shown_as / model.name}: cannot be loaded ({error})") from error

    def listen(self, features: np.ndarray) -> Heard:
        """What it writes of one utterance, float32 [T, mels].

        Raises:
            UserFault: for an utterance longer than the model was prepared for.
            WorkError: when the runtime crashes, or takes far too long.
        """
        time_s = LEAST_RUN_S + RUN_S_PER_AUDIO_S * len(features) / FRAMES_PER_SECOND
        # A new file: the process may have put a link where one was before.
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".f32") as file:
            np.ascontiguousarray(features, np.float32).tofile(file)
            file.flush()
            given = {"features": file.name, "mels": features.shape[1]}
            return self._heard(self._ask(given, time_s))

    def close(self) -> None:
        """End the process."""
        self._conversation.close()

    def _ask(self, given: Request, time_s: float) -> Answer:
        try:
            return self._conversation.ask({**self._request, **given}, time_s)
        except UserFault as fault:
            text = str(fault).replace(str(self._folder), str(self._shown_as))
            raise UserFault(text) from fault
        except Killed:
            raise
        except WorkError as error:
            raise WorkError(f"{self._backend} {error}") from error

    def _heard(self, answer: Answer) -> Heard:
        """The answer of a process that a model may have taken over."""
        try:
            ids, n_symbols = tuple(answer["ids"]), answer["n_symbols"]
            if all(isinstance(i, int) and 0 <= i < n_symbols for i in ids):
                return Heard(ids, n_symbols)
        except (TypeError, KeyError):
            pass
        raise WorkError(f"{self._backend} gave no answer that is one")


def open_isolated(backend: str, model: Path, settings: Settings) -> IsolatedSession:
    """A model that is one file; the file may go afterwards.

    Raises:
        UserFault: for a backend that is not installed, or a file that it cannot load.
    """
    folder = Path(tempfile.mkdtemp())
    try:
        return IsolatedSession(
            backend, shutil.copyfile(model, folder / model.name), settings, model.parent
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _bounds(backend: str, folder: Path) -> Bounds:
    """As much memory as is free now. A GPU's runtime needs its devices, so it is not confined."""
    if backend_info(backend).gpu:
        return Bounds(answer_bytes=_MOST_ANSWER_BYTES)
    memory_mb = psutil.virtual_memory().available // 1_000_000
    return Bounds(memory_mb=memory_mb, answer_bytes=_MOST_ANSWER_BYTES, folder=folder)
