"""Starts a study, or continues it where it stands."""

from __future__ import annotations

import importlib.metadata
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from search.coordinator import Coordinator
from search.devices import check, remembered
from search.errors import UsageFault
from search.executors.base import Executor
from search.executors.local import LocalExecutor
from search.home import Home
from search.plan import StudyFacts
from search.progress import View
from spaces.backends import backend_info
from spaces.load import find_space, parse_space, read_text
from spaces.recipe import digest_of
from spaces.space import Search, Space, check_name
from storage.artifacts import ArtifactStore, file_digest
from storage.errors import StudyChanged
from storage.records import Study, StudyState, TrialState
from storage.store import Store
from workers.brought import check_files
from workers.errors import TeacherFault, UserFault
from workers.measure.machine import report
from workers.recognizer import MANIFEST, unpacked_model

DETERMINISTIC_THREADS = 1


@dataclass(frozen=True)
class Options:
    """What the command line may set over the space file; None leaves it as it is."""

    study: str | None = None
    trials: int | None = None
    hours: float | None = None
    parallel: int | None = None
    seed: int | None = None
    sampler: str | None = None
    deterministic: bool = False


def read_space(path: str, options: Options) -> tuple[Space, str, str]:
    """The space with the options applied, its text and the path it was read from.

    Raises:
        SpaceError: with every fault of the file.
    """
    found = find_space(path).resolve()
    text = read_text(found)
    space = parse_space(text, found)
    return with_options(space, options), text, str(found)


def with_options(space: Space, options: Options) -> Space:
    """The space as the command line changes it.

    Raises:
        UsageFault: naming the option that is wrong.
    """
    given = {
        name: value
        for name in ("trials", "hours", "parallel", "seed", "sampler")
        if (value := getattr(options, name)) is not None
    }
    try:
        name = check_name(space.name if options.study is None else options.study)
    except ValueError as error:
        raise UsageFault(f"--study: {error}") from error
    try:
        search = Search.model_validate({**space.search.model_dump(), **given})
    except ValidationError as error:
        faults = [f"--{e['loc'][0]} {e['input']}: {e['msg'].lower()}" for e in error.errors()]
        raise UsageFault("; ".join(faults)) from error
    return space.model_copy(update={"search": search, "name": name})


def space_digest(space: Space) -> str:
    """Digest of what decides a study's trials; how many, how long and how parallel does not."""
    content = space.model_dump(
        mode="json",
        exclude={
            "name": True,
            "description": True,
            # where a device is reached, not what it is
            "targets": {"__all__": {"agent", "token_env", "ca_file", "adb"}},
            "search": {
                "trials",
                "hours",
                "parallel",
                "retries",
                "stage_timeout_s",
                "device_patience_s",
            },
        },
    )
    return digest_of(content)


def open_study(store: Store, space: Space, text: str, path: str, options: Options) -> Study:
    """The study of that name, made if there is none. Until its first work is done, as when its
    data were refused, a study takes up a changed space.

    Raises:
        StudyChanged: when the space is not the one the study was started with.
    """
    digest = space_digest(space)
    columns: dict[str, Any] = {
        "space_yaml": text,
        "space_path": path,
        "space_digest": digest,
        "seed": space.search.seed,
        "deterministic": options.deterministic,
        "trials_wanted": space.search.trials,
    }
    study = store.find_study(space.name)
    if study is None:
        return store.create_study(name=space.name, **columns)
    if not _has_begun(store, study):
        store.set_study(study.id, **columns, facts={})
        return store.study(space.name)
    if study.space_digest != digest or study.deterministic != options.deterministic:
        what = "--deterministic" if study.space_digest == digest else f"the space {path}"
        raise StudyChanged(
            f'{what} differs from what study "{study.name}" was started with, so its trials could '
            "not be compared; give the new search a name of its own: --study NAME"
        )
    wanted = max(study.trials_wanted, space.search.trials)
    changes = {"trials_wanted": wanted, "space_yaml": text, "space_path": path}
    store.set_study(study.id, **changes)
    return replace(study, **changes)  # type: ignore[arg-type]


def _has_begun(store: Store, study: Study) -> bool:
    """Whether work is done that builds on the space; the data are read anew at every launch."""
    runs = store.stage_runs(study.id)
    done = any(run.stage != "prepare" and run.state != "failed" for run in runs)
    return done or bool(store.trials(study.id))


def threads_of(space: Space, deterministic: bool) -> tuple[int, int]:
    """(threads of a trial, threads of the teacher)."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if deterministic:
        given = space.search.threads_per_trial or DETERMINISTIC_THREADS
        return given, given
    return space.search.threads_per_trial or max(1, cores // space.search.parallel), cores


def study_facts(store: Store, study: Study, space: Space, home: Home) -> StudyFacts:
    """What trials build on, fixed when the study first starts.

    Thread counts are among it: sums in another order give other weights.
    """
    artifacts = ArtifactStore(home.artifacts_url)
    facts = dict(study.facts)
    if "threads" not in facts:
        facts["threads"], facts["teacher_threads"] = threads_of(space, study.deterministic)
    if "brought" not in facts:
        facts["brought"] = bring_teacher(space, artifacts) | bring_baseline(space, artifacts)
        facts["baseline"] = baseline_figures(space)
    if facts != study.facts:
        store.set_study(study.id, facts=facts)
    versions = versions_of(space)
    return StudyFacts(
        space_yaml=study.space_yaml,
        space_path=study.space_path,
        seed=study.seed,
        threads=int(facts["threads"]),
        teacher_threads=int(facts["teacher_threads"]),
        host=host_digest(versions),
        versions=versions,
        brought=facts["brought"],
        anchors_ms=remembered(space, home.devices()),
    )


def host_digest(versions: Mapping[str, str]) -> str:
    """Digest of what a timing here depends on: the machine and the runtimes of the targets."""
    return digest_of([*report().identity, sorted(versions.items())])


def versions_of(space: Space) -> dict[str, str]:
    """What is installed of each runtime, by backend; ONNX Runtime always."""
    versions = {}
    for name in {"onnxruntime", *(t.backend for t in space.targets.values())}:
        info = backend_info(name)
        modules = info.modules or (info.module.partition(".")[0],)
        said = [f"{m} {_version(m)}" for m in modules] + list(info.requirements)
        versions[name] = ", ".join(said)
    return versions


def _version(module: str) -> str:
    try:
        return importlib.metadata.version(module.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_targets(space: Space) -> None:
    """Everything that a target needs is here before anything starts; a device may be away, but
    one that refuses will go on refusing.

    Raises:
        UsageFault: with every fault.
    """
    faults = [
        f"targets.{found.target}: {found.said}"
        for found in check(space)
        if found.state == "refused"
    ]
    if faults:
        raise UsageFault("\n".join(faults))


def check_baseline(space: Space) -> None:
    """The bundle that students must not be slower than can be compared with.

    Raises:
        UsageFault: when it cannot.
    """
    with tempfile.TemporaryDirectory() as folder:
        _baseline(space, Path(folder))


def bring_baseline(space: Space, artifacts: ArtifactStore) -> dict[str, str]:
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
    with tempfile.TemporaryDirectory() as place:
        found = _baseline(space, Path(place))
        if found is None:
            return {}
        try:
            return _said_of_itself(found[0].parent, space)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            assert space.gate.regression is not None
            bundle = space.gate.regression.against
            raise UsageFault(
                f"gate.regression: {bundle}: its measurements.json cannot be read; export it again"
            ) from error


def _said_of_itself(folder: Path, space: Space) -> dict[str, float]:
    path = folder / "measurements.json"
    if not path.exists():
        return {}
    its_own = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("target")
    figures: dict[str, float] = {}
    for m in json.loads(path.read_text(encoding="utf-8"))["student"]:
        if m["target"] == its_own:
            figures[m["metric"]] = float(m["value"])
        if m["target"] in space.targets:
            figures[f"{m['metric']}@{m['target']}"] = float(m["value"])
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


def bring_teacher(space: Space, artifacts: ArtifactStore) -> dict[str, str]:
    """Put the files of a teacher that the user brought among the artifacts.

    Raises:
        TeacherFault: when one is missing or cannot be used.
    """
    config = space.teacher
    try:
        check_files(config)
    except TeacherFault as error:
        raise TeacherFault(f"teacher: {error}") from error
    files = {"checkpoint": config.checkpoint, "model": config.onnx, "tokens": config.tokens}
    brought = {role: artifacts.put(Path(path)) for role, path in files.items() if path is not None}
    if config.huggingface is not None and Path(config.huggingface).is_dir():
        brought["folder"] = folder_digest(Path(config.huggingface))
    return brought


@contextmanager
def only_coordinator(home: Home, name: str) -> Iterator[None]:
    """Hold a study alone.

    Raises:
        UsageFault: when another process runs it.
    """
    path = home.study_lock(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=5)
    except Timeout as error:
        raise UsageFault(
            f'study "{name}" is being run by another process; watch it with `search status '
            f"{name}`, end it with `search stop {name}`"
        ) from error
    try:
        yield
    finally:
        lock.release()


def launch(
    path: str, home: Home, options: Options, view: View, executor: Executor | None = None
) -> tuple[Study, StudyState]:
    """Run the study of a space until it is finished or stopped.

    Raises:
        SpaceError, UsageFault, StorageError, StudyFault: before or while running.
    """
    space, text, found = read_space(path, options)
    check_baseline(space)
    check_targets(space)
    with only_coordinator(home, space.name), closing(Store(home.store_url)) as store:
        study = open_study(store, space, text, found, options)
        return _run(store, study, space, home, view, executor)


@dataclass(frozen=True)
class Remeasure:
    """What `search measure` takes up beside what waits for a device: trials by number, and all
    whose measurement was unsteady."""

    trials: tuple[int, ...] = ()
    unsteady: bool = False


def measure(
    name: str, home: Home, what: Remeasure, view: View, executor: Executor | None = None
) -> tuple[Study, StudyState]:
    """Measure what is trained and waits for it; nothing new is begun.

    Raises:
        UsageFault, StorageError, StudyFault: before or while running.
    """
    with only_coordinator(home, name), closing(Store(home.store_url)) as store:
        study = store.study(name)
        space = parse_space(study.space_yaml, study.space_path).model_copy(update={"name": name})
        check_targets(space)
        again = _to_measure_again(store, study, what)
        return _run(store, study, space, home, view, executor, asks=False, again=again)


def _to_measure_again(store: Store, study: Study, what: Remeasure) -> frozenset[int]:
    measured = {
        t.number: t
        for t in store.trials(study.id)
        if t.state in (TrialState.COMPLETE, TrialState.INFEASIBLE)
    }
    strangers = [n for n in what.trials if n not in measured]
    if strangers:
        raise UsageFault(
            f"trial {', '.join(map(str, strangers))}: not measured yet, so there is nothing to "
            "take again"
        )
    shaky = {
        n
        for n, t in measured.items()
        if what.unsteady and any(v for k, v in t.metrics.items() if k.startswith("unsteady"))
    }
    return frozenset(what.trials) | shaky


def _run(
    store: Store,
    study: Study,
    space: Space,
    home: Home,
    view: View,
    executor: Executor | None,
    asks: bool = True,
    again: frozenset[int] = frozenset(),
) -> tuple[Study, StudyState]:
    facts = study_facts(store, study, space, home)
    study = store.study(study.name)
    coordinator = Coordinator(
        store,
        study,
        space,
        facts,
        executor or LocalExecutor(home.place(), space.search.stage_timeout_s),
        view,
        space.search.parallel,
        asks,
        again,
    )
    return study, coordinator.run()
