"""Writes the package of one trial: a folder, or a zip with the same content.

`README.md` says what its files hold.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from search.bundle.card import card_text, licence_notice
from search.bundle.promise import CONDITIONS, conditions
from search.bundle.reproduce import reproduction
from search.bundle.subject import TEACHER, Subject, of_teacher, of_trial
from search.errors import UsageFault
from search.results import TrialResults
from spaces.files import why_not_a_file
from spaces.front_end import USUAL, FrontEnd
from spaces.metrics import TEST_METRICS, MetricRef
from spaces.space import WHERE_IT_IS_REACHED, Space, Target
from storage.artifacts import ArtifactStore, file_digest
from storage.errors import ArtifactError
from storage.records import Study, Trial
from storage.store import Store
from workers.data.features import FRAMES_PER_SECOND
from workers.data.text import BLANK, blank_named, read_tokens, write_tokens
from workers.recognizer import (
    FEATURES,
    MANIFEST,
    RAW_SAMPLES,
    STREAMING,
    TOKENS,
    UNREADABLE_ZIP,
)

_FORMAT = "compression-search bundle"
_MOST_MANIFEST_BYTES = 1_000_000
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes


def write_bundle(
    store: Store,
    artifacts: ArtifactStore,
    study: Study,
    space: Space,
    trial: Trial | None,
    target: Path,
    overwrite: bool = False,
    measured_on: str | None = None,
) -> Path:
    """Write the bundle of a measured trial; a target that ends in .zip becomes a zip.

    Args:
        trial: None is the teacher.
        measured_on: the target of the space whose runtime the bundle is for; the first by default.

    Raises:
        UsageFault: when it was not measured or has no file, the target is there already, or the
            space has no such target.
        ArtifactError: when a file of it is lost.
    """
    subject = of_teacher(store, study, space) if trial is None else of_trial(store, study, trial)

    def fill(folder: Path) -> dict[str, object]:
        try:
            return _fill(folder, store, artifacts, study, space, subject, measured_on)
        except ArtifactError as error:
            raise ArtifactError(
                f"files of {subject.who} are lost: {error}; {subject.how_to_make_anew}"
            ) from error

    return finish_bundle(fill, target, overwrite)


def check_target(target: Path, overwrite: bool) -> None:
    """A bundle may be written there.

    Raises:
        UsageFault: when something is there that has to stay.
    """
    if target.exists() and not overwrite:
        raise UsageFault(f"{target} exists already; choose another place or give --overwrite")
    _check_replaceable(target)


def finish_bundle(fill: Callable[[Path], dict[str, object]], target: Path, overwrite: bool) -> Path:
    """A bundle, whole or not at all; a target that ends in .zip becomes a zip.

    Args:
        fill: writes all files into a folder; what it gives back is what the bundle says of itself.

    Raises:
        UsageFault: as `check_target`.
    """
    check_target(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".bundle-") as work:
        folder = Path(work) / "bundle"
        folder.mkdir()
        told = fill(folder)
        files = {p.name: file_digest(p) for p in sorted(folder.iterdir())}
        write_json(folder / MANIFEST, {"format": f"{_FORMAT} 1", **told, "files": files})
        finished = _zipped(folder, Path(work)) if target.suffix == ".zip" else folder
        if target.is_dir():
            shutil.rmtree(target)
        elif target.exists():
            target.unlink()
        shutil.move(finished, target)
    return target


def _check_replaceable(target: Path) -> None:
    """What is there already may go: a bundle of ours, or an empty folder.

    Raises:
        UsageFault: when it is anything else.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not _is_bundle(target):
        what = "a folder" if target.is_dir() else "a file"
        raise UsageFault(f"{target} is {what} but not a bundle, so it stays; choose another place")


def _is_bundle(path: Path) -> bool:
    """Whether a folder or a zip holds the description that every bundle of ours has."""
    try:
        if path.is_dir():
            manifest = path / MANIFEST
            return manifest.is_file() and _is_manifest(manifest.read_bytes())
        if why_not_a_file(path):
            return False
        with zipfile.ZipFile(path) as archive, archive.open(MANIFEST) as file:
            return _is_manifest(file.read(_MOST_MANIFEST_BYTES))
    except (*UNREADABLE_ZIP, KeyError):
        return False


def _is_manifest(content: bytes) -> bool:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and str(manifest.get("format")).startswith(_FORMAT)


def _fill(
    folder: Path,
    store: Store,
    artifacts: ArtifactStore,
    study: Study,
    space: Space,
    subject: Subject,
    measured_on: str | None,
) -> dict[str, object]:
    name = measured_on or space.first_target
    if name not in space.targets:
        raise UsageFault(f'--target: no target "{name}" (targets: {", ".join(space.targets)})')
    model, tokens = subject.model(space, name)
    for file, digest in model.files.items():
        artifacts.fetch(digest, folder / file)
    symbols = _blank_named(artifacts.fetch(tokens, folder / TOKENS))
    bandwidth = None
    if subject.recipe is not None:
        write_json(folder / "recipe.json", dict(subject.recipe))
        prepared = TrialResults.of(store.stage_runs.of(study.id, None)).prepare
        is_known = prepared is not None and (subject.is_trained or space.teacher.train is not None)
        bandwidth = prepared.bandwidth_hz if is_known and prepared else None
    contract = features_contract(subject.subsampling_factor, bandwidth, subject.front_end)
    if subject.streaming is not None:
        contract[STREAMING] = subject.streaming.model_dump(mode="json")
    write_json(folder / FEATURES, contract)
    write_json(folder / "measurements.json", measurements(store, study, space, subject))
    write_json(folder / CONDITIONS, conditions(subject, space, name).model_dump(mode="json"))
    if (again := reproduction(study, space, subject)) is not None:
        for file, text in again.items():
            (folder / file).write_text(text, encoding="utf-8")
    card = card_text(study, space, subject, name, model, symbols.index(BLANK), bandwidth)
    (folder / "CARD.md").write_text(card, encoding="utf-8")
    notice = licence_notice(space, subject)
    (folder / "LICENSE-NOTICE.txt").write_text(notice, encoding="utf-8")
    return {
        "study": study.name,
        "trial": TEACHER if subject.is_teacher else int(subject.name),
        "target": name,
        "backend": model.backend,
        "main": model.main,
        **computed_by(space.targets[name]),
    }


def computed_by(target: Target) -> dict[str, object]:
    """What computes the features on that target, where it is not Kaldi's filter bank."""
    return {} if target.filter_bank == "kaldi" else {"filter_bank": target.filter_bank}


def _blank_named(tokens: Path) -> tuple[str, ...]:
    """A teacher from elsewhere may call the blank otherwise; who reads a bundle knows one name."""
    given = read_tokens(tokens)
    symbols = blank_named(given, tokens)
    if symbols != given:
        write_tokens(symbols, tokens)
    return symbols


def measurements(store: Store, study: Study, space: Space, subject: Subject) -> dict[str, object]:
    """Everything measured of a subject and of the teacher; "student" is whose package it is."""
    return {
        "student": [asdict(m) for m in store.measurements.of(study.id, subject.name)],
        "teacher": [
            {**asdict(m), "samples": None} for m in store.measurements.of(study.id, TEACHER)
        ],
        **_of_test(subject, study),
        "targets": {
            name: target.model_dump(mode="json", exclude=WHERE_IT_IS_REACHED)
            for name, target in space.targets.items()
        },
    }


def _of_test(subject: Subject, study: Study) -> dict[str, object]:
    """What the test set says, where it was asked."""
    sides = {"student": subject.metrics, "teacher": study.teacher_metrics}
    of_test = {
        side: {m: v for m, v in metrics.items() if MetricRef.of(m).name in TEST_METRICS}
        for side, metrics in sides.items()
    }
    return {"test": of_test} if any(of_test.values()) else {}


def features_contract(
    subsampling_factor: int | None, bandwidth: float | None, front_end: FrontEnd = USUAL
) -> dict[str, object]:
    """What the model expects of its input, and what it gives back.

    Args:
        subsampling_factor: frames in per frame out; None where it is not known.
        bandwidth: Hz above which the training audio held no sound, so that the model leaves out
            what is there.
    """
    if front_end.is_samples:
        return {
            "kind": RAW_SAMPLES,
            "sample_rate_hz": front_end.sample_rate_hz,
            "samples_per_frame": front_end.mels,
            "frames_per_second": FRAMES_PER_SECOND,
            "samples": "float32 in [-1, 1], [N, frames, 160]; normalisation is in the graph",
        }
    return {
        "kind": "kaldi log-mel filter bank",
        "sample_rate_hz": front_end.sample_rate_hz,
        "n_mels": front_end.mels,
        "frame_length_ms": 25,
        "frame_shift_ms": front_end.shift_ms,
        "frames_per_second": FRAMES_PER_SECOND,
        "window": "povey",
        "low_freq_hz": 20,
        "high_freq_hz": -400,
        "dither": 0.0,
        "snip_edges": False,
        "samples": "float32 in [-1, 1]; normalisation is in the graph",
        "bandwidth_hz": bandwidth,
        "subsampling_factor": subsampling_factor,
    }


def write_json(path: Path, content: object) -> None:
    """A file of a bundle: the same content gives the same bytes."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _zipped(folder: Path, work: Path) -> Path:
    path = work / "bundle.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(file.name, _ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return path
