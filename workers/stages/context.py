"""What a stage works with: where things are, its own folder, the lock of the host."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from spaces.front_end import FrontEnd
from storage.artifacts import ArtifactStore
from workers.accelerators import slot_on_gpu
from workers.atomic import whole_or_removed, write_json
from workers.data.corpus import Corpus
from workers.data.heard import heard_by
from workers.data.text import write_tokens
from workers.errors import LostInput
from workers.host_lock import HostLock
from workers.jobs import OnDevice
from workers.workspace import Workspace

_PROGRESS_EVERY_S = 0.5
_LOGGED_EVERY_S = 10.0


@dataclass(frozen=True)
class StageContext:
    """Handed to every stage; `folder` is the job's own and outlives an interruption."""

    workspace: Workspace
    artifacts: ArtifactStore
    folder: Path

    @cached_property
    def lock(self) -> HostLock:
        return HostLock(self.workspace.locks)

    @cached_property
    def _needed(self) -> dict[Path, str]:
        return {}

    @cached_property
    def _last_report(self) -> list[float]:
        return [0.0]

    @cached_property
    def _last_logged(self) -> list[float]:
        return [0.0]

    @contextmanager
    def gpu_for(self, job: OnDevice) -> Iterator[int | None]:
        """The number of the GPU that a job has room on while the block runs; None for a job that
        needs none."""
        if job.device != "cuda":
            yield None
            return
        gpus, locks = job.gpus or (0,), self.workspace.locks
        with slot_on_gpu(locks, gpus, job.per_gpu, self._waits_for_gpu) as gpu:
            yield gpu

    def _waits_for_gpu(self) -> None:
        self.report("waiting for a GPU", 0, 1)

    def corpus(self, name: str) -> Corpus:
        """A prepared corpus, by its name; as another front end hears it where the name tells one.

        Raises:
            LostInput: when it is gone or damaged.
        """
        plain, front_end = FrontEnd.of_corpus(name)
        folder = self.needed(self.workspace.corpus(plain), "the prepared corpus")
        if not front_end.is_usual:
            heard = heard_by(front_end, folder, self.report, self.lock.shared)
            folder = self.needed(heard, "the prepared corpus")
        return Corpus(folder)

    def soft_targets(self, name: str) -> Path:
        """The folder of what the teacher makes of the training set.

        Raises:
            LostInput: when it is gone or damaged.
        """
        return self.needed(self.workspace.soft_targets(name), "the teacher's output")

    def needed(self, folder: Path, what: str) -> Path:
        """A folder of the cache that the stage works with.

        Raises:
            LostInput: when it is gone or damaged.
        """
        self._needed[folder] = what
        if (lost := self.lost_input()) is not None:
            raise lost
        return folder

    def lost_input(self) -> LostInput | None:
        """Says which folder that the stage works with is gone or damaged by now, if one is."""
        for folder, what in self._needed.items():
            if not whole_or_removed(folder):
                return LostInput(f"{what} ({folder.name}) in the cache is gone or damaged")
        return None

    def report(self, what: str, done: int, of: int) -> None:
        """Tell how far the stage is, for whoever watches; also a sign of life."""
        now = time.monotonic()
        if done == of or now - self._last_report[0] > _PROGRESS_EVERY_S:
            self._last_report[0] = now
            write_json(self.folder / "progress.json", {"what": what, "done": done, "of": of})
        if done == of or now - self._last_logged[0] > _LOGGED_EVERY_S:
            self._last_logged[0] = now
            print(f"{time.strftime('%H:%M:%S')} {what}: {done} of {of}", flush=True)

    def fetch(self, digest: str, name: str) -> Path:
        """An artifact as a file of the folder."""
        return self.artifacts.fetch(digest, self.folder / name)

    def tokens(self, digest: str | None, corpus: Corpus) -> Path:
        """tokens.txt of a foreign model, or the corpus's."""
        return corpus.folder / "tokens.txt" if digest is None else self.fetch(digest, "tokens.txt")

    def put_tokens(self, symbols: tuple[str, ...]) -> str:
        write_tokens(symbols, self.folder / "tokens.txt")
        return self.artifacts.put(self.folder / "tokens.txt")

    def read_texts(self, digest: str | None) -> list[str] | None:
        """What was written of dev, utterance by utterance."""
        if digest is None:
            return None
        texts: list[str] = json.loads(self.fetch(digest, f"{digest}.json").read_text())
        return texts

    def put_texts(self, texts: Sequence[str]) -> str:
        write_json(self.folder / "texts.json", list(texts))
        return self.artifacts.put(self.folder / "texts.json")
