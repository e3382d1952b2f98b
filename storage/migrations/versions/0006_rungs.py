"""What trials showed at rungs."""

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


def downgrade() -> None:
    op.drop_column("trials", "rungs")
