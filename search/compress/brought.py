"""The model that is brought to be made smaller, and the audio that judges it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search.errors import UsageFault
from spaces.families import parse_dims
from spaces.files import why_not_a_file
from spaces.recipe import digest_of
from spaces.space import Data, TeacherSource
from storage.artifacts import ArtifactStore
from workers.checkpoint_header import read_header
from workers.data.corpora import BadLine, ManifestEntry, read_split
from workers.errors import TeacherFault
from workers.recognizer import unpacked_model
from workers.teachers.imported import check_files

_CALIBRATION_EVERY = 10
_MOST_CALIBRATION = 100
_LEAST_DEV = 5


@dataclass(frozen=True)
class Brought:
    """Digests of what was brought: a network of ours, or an ONNX file with its tokens."""

    name: str
    checkpoint: str | None = None
    onnx: str | None = None
    tokens: str | None = None
    symbols: tuple[str, ...] = ()  # of a network: what it writes
    subsampling_factor: int = 4


def bring(model: Path, tokens: Path | None, work: Path, artifacts: ArtifactStore) -> Brought:
    """Check a model and put it among the artifacts.

    Args:
        model: a checkpoint of ours, an ONNX CTC file, or a bundle (folder or zip) of ONNX Runtime.
        tokens: of an ONNX file; by default tokens.txt beside it.

    Raises:
        UsageFault, TeacherFault, BundleFault: saying what it is instead.
    """
    if not model.exists():
        raise UsageFault(f"--model: {model}: no such file or folder")
    if (model / "config.json").is_file():
        raise UsageFault(
            f"--model: {model}: is a Hugging Face model, which hears samples; what is packed here "
            "hears features. Bring it as the teacher of a space, and its students are what is small"
        )
    if tokens is not None and model.suffix != ".onnx":
        raise UsageFault("--tokens: goes with an ONNX file; this model brings its own")
    if model.suffix == ".safetensors":
        source = TeacherSource(checkpoint=str(model))
        _check(source)
        header = read_header(model)
        symbols = header.get("symbols")
        return Brought(
            model.name,
            checkpoint=artifacts.put(model),
            symbols=tuple(map(str, symbols)) if isinstance(symbols, list) else (),
            subsampling_factor=parse_dims(header["dims"]).contract.subsampling_factor,
        )
    if model.suffix == ".onnx":
        listed = tokens or model.with_name("tokens.txt")
        if not listed.is_file():
            raise UsageFault(f"--tokens: {listed}: no such file; name the tokens of {model}")
        _check(TeacherSource(onnx=str(model), tokens=str(listed)))
        return Brought(model.name, onnx=artifacts.put(model), tokens=artifacts.put(listed))
    if not (model.is_dir() or model.suffix == ".zip"):
        why = why_not_a_file(model) or "is none of .safetensors, .onnx, or a bundle"
        raise UsageFault(f"--model: {model}: {why}")
    onnx, listed = unpacked_model(model, work)
    _check(TeacherSource(onnx=str(onnx), tokens=str(listed)))
    return Brought(model.name, onnx=artifacts.put(onnx), tokens=artifacts.put(listed))


def _check(source: TeacherSource) -> None:
    try:
        check_files(source)
    except TeacherFault as fault:
        raise UsageFault(f"--model: {fault}") from fault


def data_of(judged_by: str, train: str | None, work: Path) -> Data:
    """The lists of training and dev. Without training data every tenth utterance is taken out of
    what judges, so that ranges of integers are not taken from what they are judged by.

    Args:
        work: where the two lists are written then.

    Raises:
        UsageFault: when there is too little.
        DataRefused: when a list cannot be read.
    """
    if train is not None:
        return Data(
            train=(_absolute(train),),
            dev=(_absolute(judged_by),),
            allow_shared_speakers=True,  # by whom it is judged is for who calls to say
        )
    data = Data(train=(_absolute(judged_by),), dev=(_absolute(judged_by),))
    items = read_split(data.dev or (), data)
    bad = [item for item in items if isinstance(item, BadLine)]
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise UsageFault(f"--data: {bad[0].source}: {bad[0].message}{more}")
    good = [item for item in items if isinstance(item, ManifestEntry)]
    calibration = _calibration(good)
    dev = [item for item in good if item not in calibration]
    if len(dev) < _LEAST_DEV:
        raise UsageFault(
            f"--data: {judged_by}: holds {len(good)} utterances: too few to judge by and to take "
            "one in ten for calibration"
        )
    lists = [_rows(calibration), _rows(dev)]
    folder = work / digest_of(lists)[:32]
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "calibration.jsonl", folder / "dev.jsonl"
    for path, rows in zip(paths, lists, strict=True):
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return Data(train=(str(paths[0]),), dev=(str(paths[1]),), speeds=(1.0,))


def _calibration(entries: Sequence[ManifestEntry]) -> list[ManifestEntry]:
    """One in ten, and what has a letter that none of these has: dev is written in the letters of
    train."""
    chosen = list(entries[::_CALIBRATION_EVERY][:_MOST_CALIBRATION])
    letters = set().union(*(e.text.lower() for e in chosen))
    for entry in entries:
        if not letters.issuperset(entry.text.lower()):
            chosen.append(entry)
            letters |= set(entry.text.lower())
    return chosen


def _rows(entries: Sequence[ManifestEntry]) -> list[dict[str, object]]:
    plain = [replace(e, audio=_absolute(e.audio)) for e in entries]
    return [
        {
            "audio_filepath": e.audio,
            "text": e.text,
            **({"offset": e.offset_s} if e.offset_s else {}),
            **({"duration": e.duration_s} if e.duration_s is not None else {}),
        }
        for e in plain
    ]


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())
