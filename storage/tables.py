"""The tables. Change them together with a migration in `migrations/versions/`."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

studies = Table(
    "studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("space_yaml", Text, nullable=False),
    Column("space_path", Text, nullable=False),
    Column("space_digest", String(64), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("deterministic", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("trials_wanted", Integer, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("elapsed_s", Float(53), nullable=False),
    Column("corpus", String(64)),
    Column("threads", Integer),
    Column("teacher_threads", Integer),
    Column("imported", JSON(none_as_null=True)),
    Column("teacher_metrics", JSON, nullable=False),
    Column("baseline_metrics", JSON, nullable=False),
    Column("added_targets", JSON, nullable=False),  # by name, beside those of the space
    Column("focuses", JSON, nullable=False),
    Column("warm_start", JSON(none_as_null=True)),  # trials by study; NULL: not looked yet
    Column(
        "live", JSON(none_as_null=True)
    ),  # what runs now, and when that was said; of no use later
)

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("values", JSON, nullable=False),
    Column("recipe", JSON, nullable=False),
    Column("recipe_digest", String(64), nullable=False),
    Column("label", String(128), nullable=False),
    Column("source", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("reason", Text),
    Column("finished_at", Float(53)),
    Column("metrics", JSON, nullable=False),
    Column("objective_values", JSON(none_as_null=True)),
    Column("constraints", JSON, nullable=False),
    Column("sampler_attrs", JSON, nullable=False),
    Column("compute_s", Float(53), nullable=False),
    Column("rungs", JSON, nullable=False),
    Column("error_groups", JSON(none_as_null=True)),
    UniqueConstraint("study_id", "number"),
    Index(None, "study_id", "state"),
)

stage_runs = Table(
    "stage_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("trial_number", Integer),
    Column("stage", String(64), nullable=False),  # measure@ and the name of a target
    Column("key", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("started_at", Float(53), nullable=False),
    Column("duration_s", Float(53), nullable=False),
    Column("result", JSON, nullable=False),
    Column("error", Text),
    Column("log", Text),
    Index(None, "study_id", "trial_number"),
    Index(None, "key"),
)

measurements = Table(
    "measurements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("subject", String(16), nullable=False),
    Column("target", String(32), nullable=False),
    Column("metric", String(32), nullable=False),
    Column("value", Float(53), nullable=False),
    Column("samples", JSON),
    UniqueConstraint("study_id", "subject", "target", "metric"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("at", Float(53), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("trial_number", Integer),
    Column("data", JSON, nullable=False),
    Index(None, "study_id", "id"),
)

commands = Table(
    "commands",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("argument", Integer),
    Column("created_at", Float(53), nullable=False),
    Column("done_at", Float(53)),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),  # of a study, which may not be there yet
    Column("holder", JSON(none_as_null=True)),  # NULL: nobody
    Column("token", Integer, nullable=False),  # counts holders
    Column("beat", Integer, nullable=False),  # counts signs of life
)

notes = Table(
    "notes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("trial_number", Integer),  # NULL: of the study
    Column("kind", String(8), nullable=False),  # note or tag
    Column("text", Text, nullable=False),
    Column("author", String(128), nullable=False),
    Column("at", Float(53), nullable=False),
    Index(None, "study_id", "trial_number"),
)
