"""A store that an earlier version wrote is taken up with all that it holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from fakes import space

from search.results import TrialResults
from search.study.measuring import Submit
from search.study.pipeline import next_trial_step
from search.study.settings import StudyContext, StudySettings
from spaces.families import Conformer, DsconvLstm, Recurrent, SeparableConv
from spaces.recipe import Prune, Quantize, Recipe
from storage import tables
from storage.database import MIGRATIONS_FOLDER, open_database
from storage.records import Event, StageRun, Study, StudyState, Trial, TrialState
from storage.store import Store
from workers.jobs import Export, Score
from workers.results import (
    RESULT,
    AnyResult,
    CompressResult,
    ConvertResult,
    Epoch,
    ExportResult,
    MeasureResult,
    Model,
    OperatorShare,
    PartSize,
    PrepareResult,
    Reading,
    ScoreResult,
    ScreenResult,
    SplitStats,
    TeacherTargetsResult,
    TrainResult,
)

EARLIER = ("0001", "0002", "0003")
STUDY: dict[str, Any] = {
    "name": "edge",
    "space_yaml": "name: edge\n# größe, 語\n",
    "space_path": "/spaces/edge.yaml",
    "space_digest": "d" * 64,
    "seed": 7,
    "deterministic": True,
    "trials_wanted": 24,
}
VALUES = {"family": "conformer", "conformer.channels": 96, "distil.weight": 0.1 + 0.2}
MIXED = Quantize(frontend="fp16", encoder="int4", head="fp32")
RECIPES = (
    Recipe(student=Conformer(channels=96)),
    Recipe(student=Recurrent(cell="lstm", channels=64), quantize=MIXED),
    Recipe(student=SeparableConv(channels=128), prune=Prune(ratio=0.4), quantize=MIXED),
    Recipe(student=DsconvLstm(channels=2048), prune=Prune(ratio=0.05)),
)
LABELS = [
    "conformer 96 fp32",
    "recurrent 64 mixed int4",
    "separable_conv 128 -40% mixed int4",
    "dsconv_lstm 2048 -5% fp32",
]
A, B, C = (letter * 64 for letter in "abc")  # digests

# Rows as earlier versions wrote them; facts, figures and artifacts by name.
OLD_STUDY = {
    **STUDY,
    "id": 1,
    "state": "stopped",
    "created_at": 1_700_000_000.5,
    "facts": {
        "corpus": "abc",
        "threads": 2,
        "teacher_threads": 4,
        "brought": {"model": A, "tokens": B},
        "teacher": {"wer": 0.1 + 0.2, "latency_p95_ms@cpu": 7.5},
        "baseline": {"size_mb": 9.5},
        "data": {"corpus": "abc", "größe": [1, 2.5, None]},
        "elapsed_s": 12.5,
    },
}
NOT_STARTED = {**OLD_STUDY, "id": 2, "name": "other", "state": "running", "facts": {}}
OLD_TRIAL = {
    "id": 1,
    "study_id": 1,
    "number": 0,
    "values": VALUES,
    "recipe": RECIPES[0].content(),
    "recipe_digest": RECIPES[0].digest(),
    "source": "expert",
    "state": "complete",
    "created_at": 1_700_000_001.5,
    "reason": None,
    "finished_at": 1_700_000_009.25,
    "metrics": {"wer": 0.1 + 0.2},
    "told": [0.3, 1e9],
    "constraints": {"size_mb <= 15": -1.5},
    "sampler_attrs": {"generation": 2},
    "compute_s": 12.5,
}
OLD_RUN = {
    "study_id": 1,
    "trial_number": 0,
    "key": "k" * 64,
    "attempt": 2,
    "state": "done",
    "started_at": 1.25,
    "duration_s": 0.5,
    "error": None,
    "log": "größe\n",
}
OLD_ROWS: dict[str, dict[str, Any]] = {
    "measurements": {
        "id": 1,
        "study_id": 1,
        "subject": "0",
        "target": "cpu",
        "metric": "latency_p95_ms",
        "value": 7.5,
        "samples": [7.1, 0.1 + 0.2],
    },
    "events": {
        "id": 1,
        "study_id": 1,
        "at": 1.5,
        "kind": "trial",
        "message": "größe",
        "trial_number": 0,
        "data": {"to": 1},
    },
    "commands": {
        "id": 1,
        "study_id": 1,
        "kind": "cancel",
        "argument": 17,
        "created_at": 1.75,
        "done_at": None,
    },
}
LONGEST_STAGE = "measure@" + "x" * 32  # of the longest name that a target may have


def _old(
    artifacts: dict[str, str] | None = None,
    figures: tuple[dict[str, Any], ...] = (),
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "artifacts": artifacts or {},
        "figures": list(figures),
        "facts": facts or {},
        "reused": False,
        "cpu_s": 2.5,
    }


_TIMED = {"target": "", "metric": "latency_p95_ms", "value": 7.5, "samples": [7.1, 0.1 + 0.2]}
_READ = Reading(metric="latency_p95_ms", value=7.5, samples=(7.1, 0.1 + 0.2))
_SIZE = {"target": "cpu", "metric": "size_mb", "value": 0.1 + 0.2, "samples": None}
_SIZE_READ = Reading(target="cpu", metric="size_mb", value=0.1 + 0.2)
_SPLIT = {"utterances": 20, "hours": 0.5, "words": 99, "speakers": 3, "longest_s": 4.25}
_POINT = {"epoch": 1, "epochs": 2, "train_ctc": 0.1 + 0.2, "cpu_s": 9.0, "dev_wer": None}
_EPOCH = Epoch(epoch=1, epochs=2, train_ctc=0.1 + 0.2, cpu_s=9.0)
_LAST = {**_POINT, "epoch": 2, "dev_wer": 0.25}
_LAST_EPOCH = Epoch(epoch=2, epochs=2, train_ctc=0.1 + 0.2, cpu_s=9.0, dev_wer=0.25)
_MODEL = {"backend": "openvino", "main": "a.xml", "files": {"a.xml": A, "a.bin": B}}

# A stage as it was called, what it gave back, and what that is now.
Told = tuple[str, dict[str, Any], AnyResult]
TOLD: dict[str, Told] = {
    "prepare": (
        "prepare",
        _old(
            facts={"corpus": "abc", "splits": {"dev": _SPLIT}, "faults": ["größe"], "n_symbols": 9}
        ),
        PrepareResult(
            corpus="abc",
            splits={"dev": SplitStats(**_SPLIT)},
            faults=("größe",),
            n_symbols=9,
            cpu_s=2.5,
        ),
    ),
    "frames of a teacher": (
        "listen",
        _old(facts={"teacher": "heard-1", "kind": "frames"}),
        TeacherTargetsResult(soft_targets="heard-1", cpu_s=2.5),
    ),
    "transcripts of a teacher": (
        "listen",
        _old({"texts": A}, (_SIZE,), {"teacher": "t", "kind": "transcripts", "taught": "17 of 20"}),
        TeacherTargetsResult(
            soft_targets="t",
            target_kind="transcripts",
            n_pseudo_labels=17,
            n_utterances=20,
            texts=A,
            readings=(_SIZE_READ,),
            cpu_s=2.5,
        ),
    ),
    "screen": (
        "screen",
        _old(figures=(_SIZE, _TIMED), facts={"not_screened_on": {"pi5": "away"}}),
        ScreenResult(readings=(_SIZE_READ, _READ), not_screened_on={"pi5": "away"}, cpu_s=2.5),
    ),
    "screen of the first version": (
        "screen",
        _old(figures=(_SIZE,)),
        ScreenResult(readings=(_SIZE_READ,), cpu_s=2.5),
    ),
    "train": (
        "train",
        _old({"checkpoint": A, "trunk": B}, facts={"history": [_POINT, _LAST]}),
        TrainResult(checkpoint=A, history=(_EPOCH, _LAST_EPOCH), cpu_s=2.5),
    ),
    "compress": (
        "compress",
        _old({"checkpoint": B}, facts={"history": [_LAST]}),
        CompressResult(checkpoint=B, history=(_LAST_EPOCH,), cpu_s=2.5),
    ),
    "export": (
        "export",
        _old(
            {"model": A, "float": B, "tokens": C},
            (_SIZE,),
            {"parity": 1e-5, "sizes": [{"part": "encoder", "format": "int8", "bytes": 400}]},
        ),
        ExportResult(
            model=A,
            float32=B,
            tokens=C,
            parity=1e-5,
            sizes=(PartSize(part="encoder", format="int8", bytes=400),),
            readings=(_SIZE_READ,),
            cpu_s=2.5,
        ),
    ),
    "export of the first version": (
        "export",
        _old({"model": A, "tokens": C}, (_SIZE,), {"parity": 1e-5}),
        ExportResult(
            model=A, float32=None, tokens=C, parity=1e-5, readings=(_SIZE_READ,), cpu_s=2.5
        ),
    ),
    "convert": (
        "convert@openvino",
        _old({"a.xml": A, "a.bin": B}, (_SIZE,), {"model": _MODEL}),
        ConvertResult(model=Model(**_MODEL), readings=(_SIZE_READ,), cpu_s=2.5),
    ),
    "score": (
        "score@openvino",
        _old({"texts": A}, (_SIZE,), {"errors": [0, 1], "words": [4, 5]}),
        ScoreResult(texts=A, errors=(0, 1), words=(4, 5), readings=(_SIZE_READ,), cpu_s=2.5),
    ),
    "measure": (
        "measure@pi5",
        _old(
            figures=(_TIMED,),
            facts={
                "machine": {"processor": "größe", "cores": 4},
                "unsteady": ["too hot"],
                "profile": [{"name": "n", "kind": "MatMul", "time_ms": 0.5}],
                "utterances_s": [0.4, 0.7],
                "passes": [10, 11],
                "anchor_ms": [3.25],
            },
        ),
        MeasureResult(
            readings=(_READ,),
            machine={"processor": "größe", "cores": 4},
            unsteady=("too hot",),
            profile=(OperatorShare(name="n", kind="MatMul", time_ms=0.5),),
            utterances_s=(0.4, 0.7),
            passes=(10, 11),
            anchor_ms=(3.25,),
            cpu_s=2.5,
        ),
    ),
    "measure by a runtime without a profiler": (
        "measure@phone",
        _old(figures=(_TIMED,), facts={"machine": {}, "unsteady": [], "profile": None}),
        MeasureResult(readings=(_READ,), cpu_s=2.5),
    ),
    "measure of the first version": (
        "measure",
        _old({"texts": A}, (_TIMED,)),
        MeasureResult(readings=(_READ,), cpu_s=2.5),
    ),
    "a stage that was found done": (
        "train",
        {**_old({"checkpoint": A}, facts={"history": [_LAST]}), "reused": True, "cpu_s": 0.0},
        TrainResult(checkpoint=A, history=(_LAST_EPOCH,), reused=True),
    ),
}


def _as_of(revision: str, url: str) -> sa.Engine:
    """A new database with the tables of an earlier version."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    else:
        Path(str(parsed.database)).parent.mkdir(parents=True)
    engine = sa.create_engine(parsed)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_FOLDER))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return engine


def _written(url: str, revision: str, rows: dict[str, list[dict[str, Any]]]) -> Store:
    """A store of ours on a database that an earlier version wrote."""
    engine = _as_of(revision, url)
    old = sa.MetaData()
    old.reflect(engine)
    with engine.begin() as connection:
        for table, content in rows.items():
            connection.execute(old.tables[table].insert(), content)
    engine.dispose()
    return Store(url)


@pytest.mark.parametrize("revision", EARLIER)
def test_a_store_of_an_earlier_version_ends_with_the_tables_as_they_are_written(
    lasting_url: str, revision: str
) -> None:
    _as_of(revision, lasting_url).dispose()
    engine = open_database(lasting_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


@pytest.mark.parametrize("revision", EARLIER)
def test_a_store_of_an_earlier_version_is_taken_up_with_all_its_rows(
    lasting_url: str, revision: str
) -> None:
    run = {**OLD_RUN, "stage": "train", "result": TOLD["train"][1]}
    rest = {table: [row] for table, row in OLD_ROWS.items()}
    old = {"studies": [OLD_STUDY], "trials": [OLD_TRIAL], "stage_runs": [run], **rest}
    store = _written(lasting_url, revision, old)

    assert store.studies.all() == [
        Study(
            **STUDY,
            id=1,
            state=StudyState.STOPPED,
            created_at=1_700_000_000.5,
            elapsed_s=12.5,
            corpus="abc",
            threads=2,
            teacher_threads=4,
            imported={"model": A, "tokens": B},
            teacher_metrics={"wer": 0.1 + 0.2, "latency_p95_ms@cpu": 7.5},
            baseline_metrics={"size_mb": 9.5},
        )
    ]
    assert store.trials.of(1) == [
        Trial(
            id=1,
            study_id=1,
            number=0,
            values=VALUES,
            recipe=RECIPES[0].content(),
            recipe_digest=RECIPES[0].digest(),
            label="conformer 96 fp32",
            source="initial_design",
            state=TrialState.COMPLETE,
            created_at=1_700_000_001.5,
            finished_at=1_700_000_009.25,
            metrics={"wer": 0.1 + 0.2},
            objective_values=(0.3, 1e9),
            constraints={"size_mb <= 15": -1.5},
            sampler_attrs={"generation": 2},
            compute_s=12.5,
        )
    ]
    (found,) = store.stage_runs.of(1)
    trained = TOLD["train"][2].model_dump(mode="json")
    assert RESULT.validate_python(found.result) == TOLD["train"][2]
    assert dataclasses.replace(found, result=trained) == StageRun(
        **{**OLD_RUN, "id": found.id, "stage": "train", "result": trained}
    )
    (measured,) = store.measurements.of(1)
    assert (measured.value, measured.samples) == (7.5, (7.1, 0.1 + 0.2))
    assert store.events.of(1) == [
        Event(id=1, at=1.5, kind="trial", message="größe", trial_number=0, data={"to": 1})
    ]
    assert [(c.kind, c.argument) for c in store.commands.take(1)] == [("cancel", 17)]

    again = {**OLD_RUN, "stage": LONGEST_STAGE, "study_id": 1}
    store.stage_runs.add(again.pop("study_id"), **again)
    assert [r.stage for r in store.stage_runs.of(1, 0)] == ["train", LONGEST_STAGE]
    store.close()


def test_a_study_that_never_started_says_so(lasting_url: str) -> None:
    store = _written(lasting_url, "0003", {"studies": [{**NOT_STARTED, "live": None}]})
    assert store.studies.all() == [
        Study(
            **{**STUDY, "name": "other"},
            id=2,
            state=StudyState.RUNNING,
            created_at=1_700_000_000.5,
        )
    ]
    store.close()


def test_a_study_that_brought_nothing_is_told_from_one_that_never_looked(lasting_url: str) -> None:
    looked = {**NOT_STARTED, "id": 1, "name": "edge", "facts": {"brought": {}, "threads": 1}}
    store = _written(lasting_url, "0001", {"studies": [looked, NOT_STARTED]})
    assert [(s.name, s.imported, s.threads) for s in store.studies.all()] == [
        ("edge", {}, 1),
        ("other", None, None),
    ]
    store.close()


def test_old_trials_are_called_as_their_recipes_are(lasting_url: str) -> None:
    sources = ("expert", "sampler", "random", "user")
    rows = [
        {**OLD_TRIAL, "id": n + 1, "number": n, "recipe": recipe.content(), "source": source}
        for n, (recipe, source) in enumerate(zip(RECIPES, sources, strict=True))
    ]
    store = _written(lasting_url, "0003", {"studies": [OLD_STUDY], "trials": rows})
    trials = store.trials.of(1)
    assert [t.label for t in trials] == LABELS == [r.label() for r in RECIPES]
    assert [t.source for t in trials] == ["initial_design", "sampler", "random", "user"]
    store.close()


def test_an_old_trial_that_was_not_judged_has_no_objective_values(lasting_url: str) -> None:
    row = {**OLD_TRIAL, "state": "failed", "told": None, "reason": "größe"}
    store = _written(lasting_url, "0001", {"studies": [OLD_STUDY], "trials": [row]})
    (trial,) = store.trials.of(1)
    assert (trial.state, trial.objective_values) == (TrialState.FAILED, None)
    assert trial.reason == "größe"
    store.close()


@pytest.mark.parametrize("told", TOLD)
def test_an_old_result_can_be_read(lasting_url: str, told: str) -> None:
    stage, old, new = TOLD[told]
    row = {**OLD_RUN, "stage": stage, "result": old, "trial_number": None}
    store = _written(lasting_url, "0003", {"studies": [OLD_STUDY], "stage_runs": [row]})
    (run,) = store.stage_runs.of(1, None)
    assert RESULT.validate_python(run.result) == new
    assert run.stage == stage.replace("listen", "teacher_targets")
    store.close()


def test_an_export_of_the_first_version_is_made_again_where_a_trial_goes_on() -> None:
    _, _, old = TOLD["export of the first version"]
    assert isinstance(old, ExportResult)
    assert old.digests == (A, C)  # and can be shown and bundled as it is
    screen, train = ScreenResult(), TrainResult(checkpoint=B)
    settings = StudySettings(seed=1, threads=1, teacher_threads=1, host="", imported={})
    context = StudyContext(corpus="abc", soft_targets="t", teacher_texts=None, teacher_metrics={})
    results = TrialResults(screen=screen, train=train, export=old)
    step = next_trial_step(space(), settings, context, RECIPES[0], results)
    assert step == Submit(Export(checkpoint=B, quantize=Quantize(), corpus="abc"))
    made = old.model_copy(update={"float32": B})
    results = TrialResults(screen=screen, train=train, export=made)
    step = next_trial_step(space(), settings, context, RECIPES[0], results)
    assert isinstance(step, Submit)
    assert isinstance(step.job, Score)


def test_an_old_attempt_that_failed_has_its_error_and_no_result(lasting_url: str) -> None:
    row = {**OLD_RUN, "stage": "listen", "state": "failed", "error": "boom", "result": {}}
    store = _written(lasting_url, "0001", {"studies": [OLD_STUDY], "stage_runs": [row]})
    (run,) = store.stage_runs.of(1)
    assert (run.stage, run.state, run.error, run.log) == (
        "teacher_targets",
        "failed",
        "boom",
        "größe\n",
    )
    assert run.result == {}
    store.close()


def test_of_a_large_old_store_every_trial_and_result_is_taken_up(lasting_url: str) -> None:
    count = 1_201  # more than are taken up at a time, and not a multiple of it
    trials = [{**OLD_TRIAL, "id": 2 * n + 1, "number": n} for n in range(count)]
    run = {**OLD_RUN, "stage": "train", "result": TOLD["train"][1]}
    runs = [{**run, "trial_number": n} for n in range(count)]
    old = {"studies": [OLD_STUDY], "trials": trials, "stage_runs": runs}
    store = _written(lasting_url, "0003", old)
    found = store.trials.of(1)
    assert len(found) == count
    assert {(t.label, t.source) for t in found} == {("conformer 96 fp32", "initial_design")}
    results = [RESULT.validate_python(r.result) for r in store.stage_runs.of(1)]
    assert results == [TOLD["train"][2]] * count
    store.close()


def test_what_cannot_be_taken_up_stays_as_it_was(lasting_url: str) -> None:
    broken = {**OLD_STUDY, "facts": {"elapsed_s": "größe"}}
    with pytest.raises(ValueError, match="größe"):
        _written(lasting_url, "0003", {"studies": [broken], "trials": [OLD_TRIAL]})
    parsed = sa.make_url(lasting_url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(parsed)
    with engine.connect() as connection:
        version = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        columns = {c["name"] for c in sa.inspect(connection).get_columns("studies")}
        sources = connection.scalars(sa.text("SELECT source FROM trials")).all()
    engine.dispose()
    assert version == "0003"
    assert "facts" in columns
    assert "elapsed_s" not in columns
    assert sources == ["expert"]
