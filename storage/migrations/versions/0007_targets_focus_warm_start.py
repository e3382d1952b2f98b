"""What a study is given after its space: further targets, a focus, what it learns from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not `batch_alter_table`: on SQLite it drops the table it copies, and what refers to it.
    for column in (
        sa.Column("added_targets", sa.JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("focuses", sa.JSON, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("warm_start", sa.JSON),
    ):
        op.add_column("studies", column)


def downgrade() -> None:
    for name in ("warm_start", "focuses", "added_targets"):
        op.drop_column("studies", name)
