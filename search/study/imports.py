"""Files that the user brings: a teacher, and the bundle that a gate compares with."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from search.errors import UsageFault
from search.study.settings import also
from spaces.metrics import MetricRef
from spaces.recipe import digest_of
from spaces.space import Space, TeacherSource
from storage.artifacts import ArtifactStore, file_digest
from workers.errors import TeacherFault, UserFault
from workers.recognizer import MANIFEST, unpacked_model
from workers.teachers.imported import check_files


def check_baseline(space: Space) -> None:
    """The bundle that students must not be slower than can be compared with.

    Raises:
        UsageFault: when it cannot.
    """
    with tempfile.TemporaryDirectory() as folder:
        _baseline(space, Path(folder))


def import_baseline(space: Space, artifacts: ArtifactStore) -> dict[str, str]:
    """Put that bundle among the artifacts.

    Raises:
        UsageFault: when it cannot be compared with.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = _baseline(space, Path(folder))
        if found is None:
            return {}
        return {"baseline": artifacts.put(found[0]), "baseline_tokens": artifacts.put(found[1])}


def baseline_figures(space: Space) -> dict[str, float]:
    """What that bundle says was measured of it: on its own target by the metric's name, on targets
    that this space has as well by `metric@target`. Empty without a bundle, or where it is silent.

    Raises:
        UsageFault: when what it says cannot be read.
    """
    with tempfile.TemporaryDirectory() as workspace:
        found = _baseline(space, Path(workspace))
        if found is None:
            return {}
        try:
            return _own_figures(found[0].parent, space)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            assert space.gate.regression is not None
            bundle = space.gate.regression.against
            raise UsageFault(
                f"gate.regression: {bundle}: its measurements.json cannot be read; export it again"
            ) from error


def _own_figures(folder: Path, space: Space) -> dict[str, float]:
    path = folder / "measurements.json"
    if not path.is_file():
        return {}
    its_own = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("target")
    figures: dict[str, float] = {}
    for m in json.loads(path.read_text(encoding="utf-8"))["student"]:
        if m["target"] == its_own:
            figures[m["metric"]] = float(m["value"])
        if m["target"] in space.targets:
            figures[MetricRef(m["metric"], m["target"])] = float(m["value"])
    return figures


def _baseline(space: Space, folder: Path) -> tuple[Path, Path] | None:
    regression = space.gate.regression
    if regression is None:
        return None
    comparable = [t for t in space.targets.values() if t.metrics is None]
    if not any(t.backend == "onnxruntime" for t in comparable):
        raise UsageFault("gate.regression: no target runs ONNX Runtime, as the baseline does")
    try:
        return unpacked_model(Path(regression.against), folder)
    except UserFault as fault:
        raise UsageFault(f"gate.regression: {fault}") from fault


def folder_digest(folder: Path) -> str:
    """Digest of the files of a folder, by name and content."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return digest_of([(str(p.relative_to(folder)), file_digest(p)) for p in files])


def import_teacher(space: Space, artifacts: ArtifactStore) -> dict[str, str]:
    """Put the files of a teacher that the user brought among the artifacts.

    Raises:
        TeacherFault: when one is missing or cannot be used.
    """
    teacher = space.teacher
    imported = _imported(teacher, artifacts, "teacher")
    for i, other in enumerate(teacher.also):
        found = _imported(other, artifacts, f"teacher.also.{i}")
        imported |= {f"{also(i)}{role}": digest for role, digest in found.items()}
    return imported


def _imported(config: TeacherSource, artifacts: ArtifactStore, where: str) -> dict[str, str]:
    try:
        check_files(config)
    except TeacherFault as error:
        raise TeacherFault(f"{where}: {error}") from error
    files = {
        "checkpoint": config.checkpoint,
        "model": config.onnx,
        "waveform": config.waveform,
        "tokens": config.tokens,
    }
    imported = {role: artifacts.put(Path(path)) for role, path in files.items() if path is not None}
    folder = config.huggingface or config.sherpa
    if folder is not None and Path(folder).is_dir():
        imported["folder"] = folder_digest(Path(folder))
    return imported
