"""A store that an earlier version wrote is taken up with all that it holds."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from old_results import TOLD
from old_rows import (
    EARLIER,
    LABELS,
    NOT_STARTED,
    OLD_ROWS,
    OLD_RUN,
    OLD_STUDY,
    OLD_TRIAL,
    RECIPES,
    A,
    B,
    as_of,
    written,
)
from store_rows import STUDY, VALUES

from storage import tables
from storage.database import open_database
from storage.records import Event, StageRun, Study, StudyState, Trial, TrialState
from workers.results import RESULT

LONGEST_STAGE = "measure@" + "x" * 32  # of the longest name that a target may have


@pytest.mark.parametrize("revision", EARLIER)
def test_a_store_of_an_earlier_version_ends_with_the_tables_as_they_are_written(
    lasting_url: str, revision: str
) -> None:
    as_of(revision, lasting_url).dispose()
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
    store = written(lasting_url, revision, old)

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
    store = written(lasting_url, "0003", {"studies": [{**NOT_STARTED, "live": None}]})
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
    store = written(lasting_url, "0001", {"studies": [looked, NOT_STARTED]})
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
    store = written(lasting_url, "0003", {"studies": [OLD_STUDY], "trials": rows})
    trials = store.trials.of(1)
    assert [t.label for t in trials] == LABELS == [r.label() for r in RECIPES]
    assert [t.source for t in trials] == ["initial_design", "sampler", "random", "user"]
    store.close()


def test_an_old_trial_that_was_not_judged_has_no_objective_values(lasting_url: str) -> None:
    row = {**OLD_TRIAL, "state": "failed", "told": None, "reason": "größe"}
    store = written(lasting_url, "0001", {"studies": [OLD_STUDY], "trials": [row]})
    (trial,) = store.trials.of(1)
    assert (trial.state, trial.objective_values) == (TrialState.FAILED, None)
    assert trial.reason == "größe"
    store.close()


def test_of_a_large_old_store_every_trial_and_result_is_taken_up(lasting_url: str) -> None:
    count = 1_201  # more than are taken up at a time, and not a multiple of it
    trials = [{**OLD_TRIAL, "id": 2 * n + 1, "number": n} for n in range(count)]
    run = {**OLD_RUN, "stage": "train", "result": TOLD["train"][1]}
    runs = [{**run, "trial_number": n} for n in range(count)]
    old = {"studies": [OLD_STUDY], "trials": trials, "stage_runs": runs}
    store = written(lasting_url, "0003", old)
    found = store.trials.of(1)
    assert len(found) == count
    assert {(t.label, t.source) for t in found} == {("conformer 96 fp32", "initial_design")}
    results = [RESULT.validate_python(r.result) for r in store.stage_runs.of(1)]
    assert results == [TOLD["train"][2]] * count
    store.close()


def test_what_cannot_be_taken_up_stays_as_it_was(lasting_url: str) -> None:
    broken = {**OLD_STUDY, "facts": {"elapsed_s": "größe"}}
    with pytest.raises(ValueError, match="größe"):
        written(lasting_url, "0003", {"studies": [broken], "trials": [OLD_TRIAL]})
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
