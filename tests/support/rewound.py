"""A finished home taken back to the moment before one of its stages, without its store."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

from search.home import Home
from search.results import read_result
from storage.records import StageRun
from storage.store import Store


def runs_of(home: Home, name: str) -> list[StageRun]:
    """Each stage of a finished study once, in order: its own, then those of the trials."""
    with closing(Store(home.store_url)) as store:
        runs = store.stage_runs.of(store.studies.get(name).id)
    return sorted(runs, key=lambda r: (-1 if r.trial_number is None else r.trial_number, r.id))


def rewound(home: Home, runs: list[StageRun], gone: list[StageRun], folder: Path) -> None:
    """Copy to a folder what was there, without what some stages made: a study that is launched
    there does these, and finds the others done where it comes to the very same work.
    """
    kept_keys = {r.key for r in runs if r not in gone}
    kept = {d for r in runs if r.key in kept_keys for d in _digests(r)}
    folder.mkdir(parents=True, exist_ok=True)
    for digest in kept:
        source = Path(home.artifacts_url) / digest[:2] / digest
        _copy(source, folder / "artifacts" / digest[:2] / digest)
    for run in runs:
        if run.key in kept_keys:
            part = f"work/{run.stage.partition('@')[0]}/{run.key[:32]}"
            _copy(home.folder / part, folder / part)
    stages = {r.stage for r in gone}
    caches = {"synthetic": set(), "corpora": {"prepare"}, "teachers": {"teacher_targets"}}
    for cache, makers in caches.items():
        if not stages & makers:
            _copy(home.folder / "cache" / cache, folder / "cache" / cache)


def _digests(run: StageRun) -> tuple[str, ...]:
    result = read_result(run)
    return () if result is None else tuple(result.digests)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)
