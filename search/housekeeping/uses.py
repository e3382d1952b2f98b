"""What studies still need of a home: files of the students worth having, and of work under way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from search.added_targets import space_of
from search.analysis.trial_frame import study_frame
from search.results import read_result
from storage.records import Study, StudyState, TrialState
from storage.store import Store
from workers.results import PrepareResult, TeacherTargetsResult

_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_OPEN = (TrialState.UNMEASURED, TrialState.STOPPED)  # ended, and may be taken up


@dataclass
class Uses:
    """By what it is used: digests of artifacts, names of prepared corpora and of soft targets."""

    artifacts: dict[str, str] = field(default_factory=dict)
    corpora: dict[str, str] = field(default_factory=dict)
    soft_targets: dict[str, str] = field(default_factory=dict)
    is_open: bool = False  # a study may go on from what its stages left


def uses_of(store: Store, keep_all: bool = False) -> Uses:
    """What all studies of a store need.

    Kept are the files of front members, of trials that are not finished, wait for a device or were
    stopped at a rung, of those with a note or a tag, and of the teacher.

    Args:
        keep_all: those of every measured trial as well.
    """
    uses = Uses()
    for study in store.studies.all():
        _add(uses, store, study, keep_all)
    return uses


def _add(uses: Uses, store: Store, study: Study, keep_all: bool) -> None:
    kept = _kept_trials(store, study, keep_all)
    states = {t.number: t.state for t in store.trials.of(study.id)}
    is_open = study.state is not StudyState.FINISHED
    uses.is_open |= is_open or any(not s.is_final or s in _OPEN for s in states.values())
    for digest in (study.imported or {}).values():
        uses.artifacts.setdefault(digest, f"{study.name}: brought by the user")
    if study.corpus is not None:
        uses.corpora.setdefault(study.corpus, study.name)
    for run in store.stage_runs.of(study.id):
        number = run.trial_number
        if number is None or number in kept:
            why = f"{study.name}: teacher" if number is None else kept[number]
            for digest in _DIGEST.findall(json.dumps(run.result)):
                uses.artifacts.setdefault(digest, why)
        if number is None:
            result = read_result(run)
            if isinstance(result, PrepareResult):
                _use(uses.corpora, (result.corpus, result.test_corpus), study.name)
            if isinstance(result, TeacherTargetsResult):
                _use(uses.soft_targets, (result.soft_targets,), study.name)


def _use(of: dict[str, str], names: Iterable[str | None], study: str) -> None:
    for name in names:
        if name is not None:
            of.setdefault(name, study)


def _kept_trials(store: Store, study: Study, keep_all: bool) -> dict[int, str]:
    """Why a trial's files stay, by number."""
    trials = store.trials.of(study.id)
    kept = {}
    for trial in trials:
        if not trial.state.is_final or trial.state in _OPEN:
            kept[trial.number] = f"{study.name}: trial {trial.number} is {trial.state}"
        elif keep_all and trial.state.is_measured:
            kept[trial.number] = f"{study.name}: trial {trial.number} is measured"
    for note in store.notes.of(study.id):
        if note.trial_number is not None:
            why = f"{study.name}: trial {note.trial_number} has a {note.kind}"
            kept.setdefault(note.trial_number, why)
    frame = study_frame(store, study, space_of(study))
    for number in frame.loc[frame["on_front"], "number"] if len(frame) else ():
        kept.setdefault(int(number), f"{study.name}: front")
    return kept
