"""A long pass over a corpus that is taken up where it was cut off."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_KEPT_EVERY = 50  # utterances


class Draft:
    """Notes of what was done, a line of JSON for each utterance, in a folder beside the files that
    they tell of. Notes are written after what they tell of, so that none tells of what is not
    there.

    Args:
        folder: where the pass works; what an earlier attempt left is there.
        about: what the pass is; notes of another one are dropped.
    """

    def __init__(self, folder: Path, about: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "notes.jsonl"
        self._about = json.dumps(about)
        self.notes: list[Any] = self._read()
        self._pending: list[str] = []

    def _read(self) -> list[Any]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError):
            lines = []
        if not lines or lines[0].rstrip("\n") != self._about:
            self._path.write_text(self._about + "\n", encoding="utf-8")
            return []
        notes: list[Any] = []
        with contextlib.suppress(ValueError):  # the last may have been cut off
            notes.extend(json.loads(line) for line in lines[1:] if line.endswith("\n"))
        self._write(notes)
        return notes

    def _write(self, notes: list[Any]) -> None:
        lines = [self._about + "\n", *(json.dumps(note) + "\n" for note in notes)]
        self._path.write_text("".join(lines), encoding="utf-8")

    def keep_first(self, is_there: Callable[[Any], bool]) -> None:
        """Drop notes from the first on that tells of what is not there, as after a power cut."""
        for place, note in enumerate(self.notes):
            if not is_there(note):
                del self.notes[place:]
                self._write(self.notes)
                return

    def add(self, note: Any, flush: Callable[[], None]) -> None:
        """Note an utterance that is done.

        Args:
            flush: puts what the notes tell of on the disk.
        """
        self.notes.append(note)
        self._pending.append(json.dumps(note) + "\n")
        if len(self._pending) >= _KEPT_EVERY:
            self.keep(flush)

    def keep(self, flush: Callable[[], None]) -> None:
        """Put what was noted on the disk."""
        flush()
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(self._pending)
        self._pending.clear()
