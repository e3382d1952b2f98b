"""How a network hears live speech: in chunks, each with a look ahead."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from spaces.record import Record

FRAME_MS = 40  # of a student's frames: four windows of 10 ms


class Streaming(Record):
    """Audio is heard in chunks of `chunk_ms`; of what comes after each, `look_ahead_ms` are waited
    for. What a chunk says is never changed by what comes later."""

    chunk_ms: Annotated[int, Field(ge=80, le=2560, multiple_of=FRAME_MS)] = 320
    look_ahead_ms: Annotated[int, Field(ge=0, le=1280, multiple_of=FRAME_MS)] = 160

    @property
    def chunk_frames(self) -> int:
        """A student's own frames in a chunk."""
        return self.chunk_ms // FRAME_MS

    @property
    def ahead_frames(self) -> int:
        return self.look_ahead_ms // FRAME_MS

    def label(self) -> str:
        """A few words for tables."""
        ahead = f"+{self.look_ahead_ms}" if self.look_ahead_ms else ""
        return f"live {self.chunk_ms}{ahead} ms"
