"""Stages are named by their target."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("stage_runs") as table:
        table.alter_column("stage", type_=sa.String(64), existing_type=sa.String(16))


def downgrade() -> None:
    with op.batch_alter_table("stage_runs") as table:
        table.alter_column("stage", type_=sa.String(16), existing_type=sa.String(64))
