"""What trials showed at rungs, and their word errors by group of utterances."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    none = sa.text("'[]'")
    op.add_column("trials", sa.Column("rungs", sa.JSON, nullable=False, server_default=none))
    op.add_column("trials", sa.Column("error_groups", sa.JSON))


def downgrade() -> None:
    op.drop_column("trials", "error_groups")
    op.drop_column("trials", "rungs")
