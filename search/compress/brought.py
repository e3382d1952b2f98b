"""The model that is brought to be made smaller, and the audio that judges it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from search.errors import UsageFault
from spaces.families import parse_dims
from spaces.files import why_not_a_file
from spaces.front_end import SAMPLES, USUAL, FrontEnd
from spaces.recipe import digest_of
from spaces.space import Data, TeacherSource
from storage.artifacts import ArtifactStore
from workers.backends.base import Settings
from workers.backends.isolated_session import open_isolated
from workers.checkpoint_header import read_header
from workers.data.corpora import BadLine, ManifestEntry, read_split
from workers.data.features import SAMPLE_RATE_HZ, framed
from workers.data.text import write_tokens
from workers.errors import TeacherFault, UserFault, WorkError
from workers.export.names import SAMPLES_MODEL, SAMPLES_TOKENS
from workers.export.on_samples import in_contract
from workers.isolated_call import call
from workers.probe.machine import usable_cores
from workers.recognizer import unpacked_model
from workers.teachers.imported import check_files
from workers.teachers.waveform_onnx import symbols_of, takes_samples

_CALIBRATION_EVERY = 10
_MOST_CALIBRATION = 100
_LEAST_DEV = 5
_SECOND = framed(np.zeros(SAMPLE_RATE_HZ, np.float32))


@dataclass(frozen=True)
class Brought:
    """Digests of what was brought: a network of ours, or an ONNX file with its tokens."""

    name: str
    checkpoint: str | None = None
    onnx: str | None = None
    tokens: str | None = None
    symbols: tuple[str, ...] = ()  # of a network: what it writes
    subsampling_factor: int = 4
    front_end: FrontEnd = USUAL  # what it hears


def bring(
    model: Path,
    tokens: Path | None,
    work: Path,
    artifacts: ArtifactStore,
    *,
    as_recorded: bool = False,
) -> Brought:
    """Check a model and put it among the artifacts.

    Args:
        model: a checkpoint of ours, an ONNX CTC file on features or samples, a bundle (folder or
            zip) of ONNX Runtime, or a folder with a CTC model of Hugging Face.
        tokens: of an ONNX file; by default tokens.txt beside it.
        as_recorded: an ONNX file on samples hears them as they are, not of mean 0 and variance 1.

    Raises:
        UsageFault, TeacherFault, BundleFault: saying what it is instead.
    """
    if not model.exists():
        raise UsageFault(f"--model: {model}: no such file or folder")
    is_onnx, is_huggingface = model.suffix == ".onnx", (model / "config.json").is_file()
    if tokens is not None and not is_onnx:
        raise UsageFault("--tokens: goes with an ONNX file; this model brings its own")
    hears_samples = is_onnx and takes_samples(model)
    if as_recorded and not hears_samples:
        raise UsageFault("--as-recorded: goes with an ONNX file on raw samples")
    if is_huggingface:
        return _of_huggingface(model, work, artifacts)
    if model.suffix == ".safetensors":
        return _of_checkpoint(model, artifacts)
    if is_onnx:
        listed = tokens or model.with_name("tokens.txt")
        if not listed.is_file():
            raise UsageFault(f"--tokens: {listed}: no such file; name the tokens of {model}")
        if hears_samples:
            heard = TeacherSource(waveform=str(model), tokens=str(listed), as_recorded=as_recorded)
            return _of_samples(heard, model.name, work, artifacts)
        return _of_features(model, listed, model.name, artifacts)
    if not (model.is_dir() or model.suffix == ".zip"):
        why = (
            why_not_a_file(model)
            or "is none of .safetensors, .onnx, a bundle, a folder of Hugging Face"
        )
        raise UsageFault(f"--model: {model}: {why}")
    return _of_features(*unpacked_model(model, work), model.name, artifacts)


def _of_checkpoint(model: Path, artifacts: ArtifactStore) -> Brought:
    _check(TeacherSource(checkpoint=str(model)))
    header = read_header(model)
    symbols = header.get("symbols")
    return Brought(
        model.name,
        checkpoint=artifacts.put(model),
        symbols=tuple(map(str, symbols)) if isinstance(symbols, list) else (),
        subsampling_factor=parse_dims(header["dims"]).contract.subsampling_factor,
    )


def _of_features(model: Path, tokens: Path, name: str, artifacts: ArtifactStore) -> Brought:
    _check(TeacherSource(onnx=str(model), tokens=str(tokens)))
    return Brought(name, onnx=artifacts.put(model), tokens=artifacts.put(tokens))


def _of_huggingface(model: Path, work: Path, artifacts: ArtifactStore) -> Brought:
    asked = {"name": str(model.resolve()), "folder": str(work)}
    try:
        told = call("huggingface_to_onnx", asked, threads=usable_cores())
    except UserFault as fault:
        raise UsageFault(f"--model: {fault}") from fault
    heard = TeacherSource(
        waveform=str(work / SAMPLES_MODEL),
        tokens=str(work / SAMPLES_TOKENS),
        as_recorded=told["as_recorded"],
    )
    return _of_samples(heard, model.name, work, artifacts)


def _of_samples(heard: TeacherSource, name: str, work: Path, artifacts: ArtifactStore) -> Brought:
    """A model on raw samples, in the contract of what is measured; what is packed hears them."""
    assert heard.waveform is not None and heard.tokens is not None
    _check(heard)
    found, model, tokens = symbols_of(Path(heard.tokens)), work / "model.onnx", work / "listed.txt"
    in_contract(Path(heard.waveform), found.order, model, as_recorded=bool(heard.as_recorded))
    write_tokens(found.symbols, tokens)
    try:
        session = open_isolated("onnxruntime", model, Settings())
        try:
            session.listen(_SECOND)
        finally:
            session.close()
    except (UserFault, WorkError) as fault:
        text = str(fault).replace(str(model), name)
        raise UsageFault(f"--model: {name}: cannot be measured as it is built ({text})") from fault
    return Brought(name, onnx=artifacts.put(model), tokens=artifacts.put(tokens), front_end=SAMPLES)


def _check(source: TeacherSource) -> None:
    try:
        check_files(source)
    except TeacherFault as fault:
        raise UsageFault(f"--model: {fault}") from fault


def data_of(judged_by: str, train: str | None, work: Path, *, is_trained: bool) -> Data:
    """The lists of training and dev. Without training data every tenth utterance is taken out of
    what judges, so that ranges of integers are not taken from what they are judged by.

    Args:
        work: where the two lists are written then.
        is_trained: training data is for more than calibration.

    Raises:
        UsageFault: when there is too little.
        DataRefused: when a list cannot be read.
    """
    if train is not None:
        return Data(
            train=(_absolute(train),),
            dev=(_absolute(judged_by),),
            allow_shared_speakers=True,  # by whom it is judged is for who calls to say
        ).model_copy(update={} if is_trained else {"speeds": (1.0,)})
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
