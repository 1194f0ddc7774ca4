"""Store marks of deleted runs, whose events may still be in the log."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create a table, `deleted_runs`."""
    op.create_table(
        "deleted_runs",
        sa.Column("run_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_deleted_runs"),
    )


def downgrade() -> None:
    """Drop the table: events that are still in the log stay until their retention is over."""
    op.drop_table("deleted_runs")
