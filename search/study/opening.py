"""Finds or makes the study of a space, and what its trials build on."""

from __future__ import annotations

from collections.abc import Mapping

from search.devices.calibrate import remembered
from search.errors import UsageFault
from search.home import Home
from search.policy import policy_of
from search.study.engine import Site
from search.study.host import versions_of
from search.study.imports import baseline_figures, import_baseline, import_teacher
from search.study.ledger import FIRST_STAGES
from search.study.options import Options
from search.study.settings import Place, StudySettings
from spaces.identity import space_digest
from spaces.space import Space
from storage.artifacts import ArtifactStore
from storage.errors import StudyChanged
from storage.records import Study, StudyChanges
from storage.store import Store


def open_study(store: Store, space: Space, text: str, path: str, options: Options) -> Study:
    """The study of that name, made if there is none. Until its first work is done, as when its
    data were refused, a study takes up a changed space.

    Raises:
        StudyChanged: when the space is not the one the study was started with.
    """
    digest, name = space_digest(space), space.name
    study = store.studies.find(name)
    if study is None:
        return store.studies.create(
            name=name,
            space_yaml=text,
            space_path=path,
            space_digest=digest,
            seed=space.search.seed,
            deterministic=options.deterministic,
            trials_wanted=space.search.trials,
        )
    if not _has_begun(store, study):
        anew = StudyChanges(
            space_yaml=text,
            space_path=path,
            space_digest=digest,
            seed=space.search.seed,
            deterministic=options.deterministic,
            trials_wanted=space.search.trials,
            corpus=None,
            threads=None,
            teacher_threads=None,
            imported=None,
            elapsed_s=0.0,
            teacher_metrics={},
            baseline_metrics={},
            focuses=(),
            warm_start=None,
        )
        store.studies.change(study.id, **anew)
        return store.studies.get(name)
    if study.space_digest != digest or study.deterministic != options.deterministic:
        what = "--deterministic" if study.space_digest == digest else f"the space {path}"
        raise StudyChanged(
            f'{what} differs from what study "{study.name}" was started with, so its trials could '
            "not be compared; give the new search a name of its own: --study NAME"
        )
    wanted = max(study.trials_wanted, space.search.trials)
    store.studies.change(study.id, trials_wanted=wanted, space_yaml=text, space_path=path)
    return store.studies.get(name)


def _has_begun(store: Store, study: Study) -> bool:
    """Whether work is done that builds on the space."""
    runs = [run for run in store.stage_runs.of(study.id, None) if run.state != "failed"]
    is_begun = any(run.stage.partition("@")[0] not in FIRST_STAGES for run in runs)
    return is_begun or bool(store.trials.of(study.id))


def study_settings(
    store: Store, study: Study, space: Space, home: Home, site: Site, *, trains: bool = True
) -> StudySettings:
    """What trials build on, fixed when the study first starts.

    Thread counts are among it: sums in another order give other weights. On which device is
    trained is of the launch: who goes on elsewhere begins trainings that were cut off anew.

    Args:
        trains: this launch may train; else no device is looked for.
    """
    artifacts = ArtifactStore(home.artifacts_url)
    threads, teacher_threads = study.threads, study.teacher_threads
    if threads is None or teacher_threads is None:
        threads, teacher_threads = site.threads(policy_of(study.deterministic))
        store.studies.change(study.id, threads=threads, teacher_threads=teacher_threads)
    imported = study.imported
    if imported is not None and not all(map(artifacts.has, imported.values())):
        _import_again(space, artifacts, imported)
    if imported is None:
        imported = import_teacher(space, artifacts) | import_baseline(space, artifacts)
        figures = baseline_figures(space)
        store.studies.change(study.id, imported=imported, baseline_metrics=figures)
    model = imported.get("model")
    versions = versions_of(space)
    return StudySettings(
        seed=study.seed,
        threads=threads,
        teacher_threads=teacher_threads,
        host=site.host(versions),
        versions=versions,
        imported=imported,
        teacher_size_mb=None if model is None else artifacts.size(model) / 1e6,
        anchors_ms=remembered(space, home.devices()),
        not_screened=site.not_screened(),
        place=site.place(deterministic=study.deterministic) if trains else Place(),
    )


def _import_again(space: Space, artifacts: ArtifactStore, imported: Mapping[str, str]) -> None:
    """Files that the user gave are gone from the artifacts; the study needs the very same.

    Raises:
        UsageFault: when they are others by now.
    """
    if import_teacher(space, artifacts) | import_baseline(space, artifacts) != dict(imported):
        raise UsageFault(
            "the teacher's (or the baseline's) files are gone from the artifacts, and those that "
            "the space names are others by now; put the old ones back, or start a new study with "
            "--study"
        )
