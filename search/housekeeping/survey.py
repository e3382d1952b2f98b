"""Everything that a home holds, with what it is used for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from search.home import Home
from search.housekeeping.uses import Uses

Kind = Literal["artifact", "corpus", "read audio", "soft targets", "spoken corpus", "stage"]
_MAY_GO_ON = "a study that may go on"
_STAGE_FILES = (".safetensors", ".onnx", ".npy", ".npz")


@dataclass(frozen=True)
class Item:
    """A file or folder; `used_by` in words, empty where nothing needs it."""

    kind: Kind
    path: Path
    size_bytes: int
    used_by: str
    changed_at: float

    def remove(self) -> None:
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


def survey(home: Home, uses: Uses) -> list[Item]:
    """All of a home on this machine; artifacts that lie elsewhere are not looked at."""
    return [
        *_artifacts(home, uses),
        *_corpora(home, uses),
        *_soft_targets(home, uses),
        *_shards(home, uses),
        *_spoken(home, uses),
        *_stages(home, uses),
    ]


def _item(kind: Kind, path: Path, used_by: str) -> Item:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    told = [p.stat() for p in files]
    size = sum(s.st_size for s in told)
    changed_at = max((s.st_mtime for s in told), default=path.stat().st_mtime)
    return Item(kind, path, size, used_by, changed_at)


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []


def _artifacts(home: Home, uses: Uses) -> Iterator[Item]:
    if "://" in home.artifacts_url:
        return
    for folder in _folders(Path(home.artifacts_url)):
        for path in sorted(folder.iterdir()):
            if len(path.name) == 64:
                yield _item("artifact", path, uses.artifacts.get(path.name, ""))


def _corpora(home: Home, uses: Uses) -> Iterator[Item]:
    for path in _folders(home.workspace().cache / "corpora"):
        plain = path.name.partition("~")[0]  # as another front end heard it
        yield _item("corpus", path, uses.corpora.get(plain, ""))


def _soft_targets(home: Home, uses: Uses) -> Iterator[Item]:
    for path in _folders(home.workspace().cache / "teachers"):
        name = path.name.strip(".").partition(".")[0].partition("-")[0]
        used_by = uses.soft_targets.get(name, "")
        if path.name.startswith(".") and not used_by:  # a pass that was cut off
            used_by = _MAY_GO_ON * uses.is_open
        yield _item("soft targets", path, used_by)


def _shards(home: Home, uses: Uses) -> Iterator[Item]:
    """A shard that a corpus was made of is the same file there: it takes no room of its own."""
    for path in _folders(home.workspace().cache / "shards"):
        features = path / "plain.u8"
        if features.is_file() and features.stat().st_nlink > 1:
            item = _item("read audio", path, "a corpus")
            yield replace(item, size_bytes=item.size_bytes - features.stat().st_size)
        else:
            yield _item("read audio", path, _MAY_GO_ON * uses.is_open)


def _spoken(home: Home, uses: Uses) -> Iterator[Item]:
    cache = home.workspace().cache
    heard: dict[str, str] = {}
    for folder in _folders(cache / "corpora"):
        study = uses.corpora.get(folder.name.partition("~")[0])
        audio = _first_audio(folder) if study else None
        if study and audio is not None:
            heard.setdefault(audio.parent.name, study)
    for path in _folders(cache / "synthetic"):
        yield _item("spoken corpus", path, heard.get(path.name, ""))


def _first_audio(corpus: Path) -> Path | None:
    try:
        return Path(json.loads((corpus / "index.json").read_text())["dev"][0]["audio"])
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _stages(home: Home, uses: Uses) -> Iterator[Item]:
    """What stages left that did not end; results stay, they are small."""
    for kind in _folders(home.workspace().work):
        for path in _folders(kind):
            left = [p for p in path.iterdir() if p.suffix in _STAGE_FILES]
            if left and not (path / "result.json").exists():
                yield _item("stage", path, _MAY_GO_ON * uses.is_open)
