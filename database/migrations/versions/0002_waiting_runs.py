"""Store the data from which suspended runs resume."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create a table, `waiting_runs`."""
    op.create_table(
        "waiting_runs",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("pending", sa.JSON, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("expires_at", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_waiting_runs"),
    )


def downgrade() -> None:
    """Drop the table: waiting runs can't be resumed."""
    op.drop_table("waiting_runs")
