"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _study() -> sa.Column:
    return sa.Column(
        "study_id", sa.Integer, sa.ForeignKey("studies.id", ondelete="CASCADE"), nullable=False
    )


def upgrade() -> None:
    _studies_and_trials()
    _what_was_measured()
    _what_happened()


def _studies_and_trials() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("space_yaml", sa.Text, nullable=False),
        sa.Column("space_path", sa.Text, nullable=False),
        sa.Column("space_digest", sa.String(64), nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("deterministic", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("trials_wanted", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
    )
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer, primary_key=True),
        _study(),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("values", sa.JSON, nullable=False),
        sa.Column("recipe", sa.JSON, nullable=False),
        sa.Column("recipe_digest", sa.String(64), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("finished_at", sa.Float(53)),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("told", sa.JSON),
        sa.Column("constraints", sa.JSON, nullable=False),
        sa.Column("sampler_attrs", sa.JSON, nullable=False),
        sa.Column("compute_s", sa.Float(53), nullable=False),
        sa.UniqueConstraint("study_id", "number"),
    )
    op.create_index("ix_trials_study_id_state", "trials", ["study_id", "state"])


def _what_was_measured() -> None:
    op.create_table(
        "stage_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        _study(),
        sa.Column("trial_number", sa.Integer),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("started_at", sa.Float(53), nullable=False),
        sa.Column("duration_s", sa.Float(53), nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("log", sa.Text),
    )
    op.create_index(
        "ix_stage_runs_study_id_trial_number", "stage_runs", ["study_id", "trial_number"]
    )
    op.create_index("ix_stage_runs_key", "stage_runs", ["key"])
    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer, primary_key=True),
        _study(),
        sa.Column("subject", sa.String(16), nullable=False),
        sa.Column("target", sa.String(32), nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("samples", sa.JSON),
        sa.UniqueConstraint("study_id", "subject", "target", "metric"),
    )


def _what_happened() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        _study(),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("trial_number", sa.Integer),
        sa.Column("data", sa.JSON, nullable=False),
    )
    op.create_index("ix_events_study_id_id", "events", ["study_id", "id"])
    op.create_table(
        "commands",
        sa.Column("id", sa.Integer, primary_key=True),
        _study(),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("argument", sa.Integer),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("done_at", sa.Float(53)),
    )


def downgrade() -> None:
    for table in ("commands", "events", "measurements", "stage_runs", "trials", "studies"):
        op.drop_table(table)
