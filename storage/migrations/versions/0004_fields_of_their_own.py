"""Facts of a study become columns, results of stages become records, names become the field's."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_AT_A_TIME = 500


def upgrade() -> None:
    # Not `batch_alter_table`: on SQLite it drops the table it copies, and what refers to it.
    nothing = sa.text("'{}'")
    for column in (
        sa.Column("elapsed_s", sa.Float(53), nullable=False, server_default="0"),
        sa.Column("corpus", sa.String(64)),
        sa.Column("threads", sa.Integer),
        sa.Column("teacher_threads", sa.Integer),
        sa.Column("imported", sa.JSON),
        sa.Column("teacher_metrics", sa.JSON, nullable=False, server_default=nothing),
        sa.Column("baseline_metrics", sa.JSON, nullable=False, server_default=nothing),
    ):
        op.add_column("studies", column)
    op.add_column("trials", sa.Column("label", sa.String(128), nullable=False, server_default=""))
    op.execute("ALTER TABLE trials RENAME COLUMN told TO objective_values")
    connection = op.get_bind()
    _studies(connection)
    _trials(connection)
    _stage_runs(connection)
    op.drop_column("studies", "facts")


def _studies(connection: sa.Connection) -> None:
    studies = _table(connection, "studies")
    for row in connection.execute(sa.select(studies.c.id, studies.c.facts)).all():
        facts = row.facts or {}
        changes = {
            "elapsed_s": float(facts.get("elapsed_s", 0.0)),
            "corpus": facts.get("corpus"),
            "threads": facts.get("threads"),
            "teacher_threads": facts.get("teacher_threads"),
            "imported": facts.get("brought", sa.null()),
            "teacher_metrics": facts.get("teacher") or {},
            "baseline_metrics": facts.get("baseline") or {},
        }
        connection.execute(sa.update(studies).where(studies.c.id == row.id).values(changes))


def _trials(connection: sa.Connection) -> None:
    trials = _table(connection, "trials")
    for row in _in_pieces(connection, trials, trials.c.recipe, trials.c.source):
        changes = {"label": _label(row.recipe)}
        if row.source == "expert":
            changes["source"] = "initial_design"
        connection.execute(sa.update(trials).where(trials.c.id == row.id).values(changes))


def _label(recipe: dict) -> str:
    """As recipes called themselves when this was written."""
    student, quantize = recipe.get("student", {}), recipe.get("quantize", {})
    formats = [quantize.get(part, "fp32") for part in ("frontend", "encoder", "head")]
    scheme = formats[1] if len(set(formats)) == 1 else f"mixed {formats[1]}"
    ratio = recipe.get("prune", {}).get("ratio", 0)
    prune = f" -{ratio:.0%}" if ratio else ""
    return f"{student.get('family', '?')} {student.get('channels', '')}{prune} {scheme}"[:128]


def _stage_runs(connection: sa.Connection) -> None:
    runs = _table(connection, "stage_runs")
    for row in _in_pieces(connection, runs, runs.c.stage, runs.c.result):
        kind = row.stage.partition("@")[0]
        changes = {"result": _result(kind, row.result) if row.result else {}}
        if kind == "listen":
            changes["stage"] = "teacher_targets"
        connection.execute(sa.update(runs).where(runs.c.id == row.id).values(changes))


def _result(kind: str, old: dict) -> dict:
    """A result with fields of its stage, from artifacts, figures and facts by name."""
    artifacts, facts = old.get("artifacts", {}), old.get("facts", {})
    new = {
        "kind": "teacher_targets" if kind == "listen" else kind,
        "readings": old.get("figures", []),
        "reused": old.get("reused", False),
        "cpu_s": old.get("cpu_s", 0.0),
    }
    return new | _FIELDS.get(kind, lambda _artifacts, _facts: {})(artifacts, facts)


def _present(facts: dict, *names: str) -> dict:
    return {name: facts[name] for name in names if facts.get(name) is not None}


def _targets(artifacts: dict, facts: dict) -> dict:
    counts = re.fullmatch(r"(\d+) of (\d+)", str(facts.get("taught", "")))
    taught = {"n_pseudo_labels": int(counts[1]), "n_utterances": int(counts[2])} if counts else {}
    return {
        "soft_targets": facts.get("teacher"),
        "target_kind": facts.get("kind", "frames"),
        **taught,
        **_present(artifacts, "texts"),
    }


_FIELDS = {
    "prepare": lambda _, f: _present(f, "corpus", "splits", "faults", "n_symbols"),
    "screen": lambda _, f: _present(f, "not_screened_on"),
    "train": lambda a, f: _present(a, "checkpoint") | _present(f, "history"),
    "compress": lambda a, f: _present(a, "checkpoint") | _present(f, "history"),
    "export": lambda a, f: {
        **_present(a, "model", "tokens"),
        "float32": a.get("float"),  # the first version kept none
        **_present(f, "parity", "sizes"),
    },
    "convert": lambda _, f: _present(f, "model"),
    "score": lambda a, f: _present(a, "texts") | _present(f, "errors", "words"),
    "measure": lambda _, f: _present(
        f, "machine", "unsteady", "profile", "utterances_s", "passes", "anchor_ms"
    ),
    "listen": _targets,
}


def _table(connection: sa.Connection, name: str) -> sa.Table:
    return sa.Table(name, sa.MetaData(), autoload_with=connection)


def _in_pieces(connection: sa.Connection, table: sa.Table, *columns: sa.Column):
    """Rows by id, a few at a time: results of a large study do not fit into memory."""
    last = -1
    while True:
        query = sa.select(table.c.id, *columns).where(table.c.id > last)
        rows = connection.execute(query.order_by(table.c.id).limit(_AT_A_TIME)).all()
        if not rows:
            return
        yield from rows
        last = rows[-1].id


def downgrade() -> None:
    raise NotImplementedError("what was split into fields is not put together again")
