"""Lists of recordings of a test's own, good ones at first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

N_GOOD = 4  # lines of the good train list; what is added lies on the line after


def noise(seconds: float, seed: int) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * 16_000)) * 0.1
    return samples.astype(np.float32)


Row = dict[str, object] | str


class Corpus:
    """A space on lists of its own, in a folder of its own."""

    def __init__(self, folder: Path, audio: Path) -> None:
        self.folder, self.audio = folder, audio
        self.train, self.dev = folder / "train.jsonl", folder / "dev.jsonl"
        self.write(self.train, *(self.row(f"train{i}.wav") for i in range(N_GOOD)))
        self.write(self.dev, *(self.row(f"dev{i}.wav") for i in range(2)))

    def row(self, name: str = "train0.wav", text: object = "ab ba", **more: object) -> Row:
        return {"audio_filepath": str(self.audio / name), "text": text, **more}

    def write(self, path: Path, *rows: Row) -> None:
        lines = [r if isinstance(r, str) else json.dumps(r) for r in rows]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def add(self, path: Path, *rows: Row) -> None:
        """Write more lines below those of a list."""
        before = path.read_text().splitlines()
        self.write(path, *before, *rows)

    def space(
        self, train: Path | None = None, more: str = "", teacher: str = "train: {}", end: str = ""
    ) -> Path:
        path = self.folder / "mine.yaml"
        path.write_text(
            f"name: mine\n"
            f"data: {{train: {train or self.train}, dev: {self.dev}{more}}}\n"
            f"teacher: {{{teacher}}}\n"
            f"students: {{separable_conv: {{channels: 16, blocks: 1}}}}\n{end}"
        )
        return path
