"""Rows as earlier versions wrote them, and the database that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from store_rows import STUDY, VALUES

from spaces.families import Conformer, DsconvLstm, Recurrent, SeparableConv
from spaces.recipe import Prune, Quantize, Recipe
from storage.database import MIGRATIONS_FOLDER
from storage.store import Store

EARLIER = ("0001", "0002", "0003")
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


def as_of(revision: str, url: str) -> sa.Engine:
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


def written(url: str, revision: str, rows: dict[str, list[dict[str, Any]]]) -> Store:
    """A store of ours on a database that an earlier version wrote."""
    engine = as_of(revision, url)
    old = sa.MetaData()
    old.reflect(engine)
    with engine.begin() as connection:
        for table, content in rows.items():
            connection.execute(old.tables[table].insert(), content)
    engine.dispose()
    return Store(url)
