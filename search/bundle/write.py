"""Writes the package of one trial: a folder, or a zip with the same content.

`README.md` says what its files hold.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path

from search.bundle.card import card_text, licence_notice
from search.errors import UsageFault
from search.results import TrialResults, model_of
from spaces.families import StudentContract
from spaces.files import why_not_a_file
from spaces.recipe import Recipe
from spaces.space import Space
from storage.artifacts import ArtifactStore, file_digest
from storage.records import Study, Trial
from storage.store import Store
from workers.data.features import N_MELS, SAMPLE_RATE_HZ
from workers.recognizer import MANIFEST, TOKENS, UNREADABLE_ZIP

_WHERE_IT_IS_REACHED = {"agent", "token_env", "ca_file", "adb"}
_FORMAT = "compression-search bundle"
_MOST_MANIFEST_BYTES = 1_000_000
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes


def write_bundle(
    store: Store,
    artifacts: ArtifactStore,
    study: Study,
    space: Space,
    trial: Trial,
    target: Path,
    overwrite: bool = False,
    measured_on: str | None = None,
) -> Path:
    """Write the bundle of a measured trial; a target that ends in .zip becomes a zip.

    Args:
        measured_on: the target of the space whose runtime the bundle is for; the first by default.

    Raises:
        UsageFault: when the trial was not measured, the target is there already, or the space has
            no such target.
    """
    if not trial.state.is_measured:
        raise UsageFault(
            f"trial {trial.number} is {trial.state.replace('_', ' ')}"
            + (f" ({trial.reason})" if trial.reason else "")
            + f"; only a measured one can be exported: `search front {study.name}` lists the best"
        )
    if target.exists() and not overwrite:
        raise UsageFault(f"{target} exists already; choose another place or give --overwrite")
    _check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".bundle-") as work:
        folder = Path(work) / "bundle"
        folder.mkdir()
        _fill(folder, store, artifacts, study, space, trial, measured_on)
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
    trial: Trial,
    measured_on: str | None,
) -> None:
    name = measured_on or space.first_target
    if name not in space.targets:
        raise UsageFault(f'--target: no target "{name}" (targets: {", ".join(space.targets)})')
    results = TrialResults.of(store.stage_runs.of(study.id, trial.number))
    model, tokens = model_of(space, name, results)
    for file, digest in model.files.items():
        artifacts.fetch(digest, folder / file)
    artifacts.fetch(tokens, folder / TOKENS)
    measured = measurements(store, study, space, trial)
    recipe = Recipe.model_validate(trial.recipe)
    prepared = TrialResults.of(store.stage_runs.of(study.id, None)).prepare
    bandwidth = None if prepared is None else prepared.bandwidth_hz
    contract = features_contract(recipe.student.contract, bandwidth)
    _write_json(folder / "features.json", contract)
    _write_json(folder / "recipe.json", dict(trial.recipe))
    _write_json(folder / "measurements.json", measured)
    card = card_text(study, space, trial, name, model, bandwidth)
    (folder / "CARD.md").write_text(card, encoding="utf-8")
    (folder / "LICENSE-NOTICE.txt").write_text(licence_notice(space), encoding="utf-8")
    _write_json(
        folder / MANIFEST,
        {
            "format": f"{_FORMAT} 1",
            "study": study.name,
            "trial": trial.number,
            "target": name,
            "backend": model.backend,
            "main": model.main,
            "files": {p.name: file_digest(p) for p in sorted(folder.iterdir())},
        },
    )


def measurements(store: Store, study: Study, space: Space, trial: Trial) -> dict[str, object]:
    """Everything measured of a trial and of its teacher."""
    return {
        "student": [asdict(m) for m in store.measurements.of(study.id, str(trial.number))],
        "teacher": [
            {**asdict(m), "samples": None} for m in store.measurements.of(study.id, "teacher")
        ],
        "targets": {
            name: target.model_dump(mode="json", exclude=_WHERE_IT_IS_REACHED)
            for name, target in space.targets.items()
        },
    }


def features_contract(contract: StudentContract, bandwidth: float | None) -> dict[str, object]:
    """What the model expects of its input, and what it gives back.

    Args:
        bandwidth: Hz above which the training audio held no sound, so that the model leaves out
            what is there.
    """
    return {
        "kind": "kaldi log-mel filter bank",
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "n_mels": N_MELS,
        "frame_length_ms": 25,
        "frame_shift_ms": 10,
        "window": "povey",
        "low_freq_hz": 20,
        "high_freq_hz": -400,
        "dither": 0.0,
        "snip_edges": False,
        "samples": "float32 in [-1, 1]; normalisation is in the graph",
        "bandwidth_hz": bandwidth,
        "subsampling_factor": contract.subsampling_factor,
    }


def _write_json(path: Path, content: object) -> None:
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
