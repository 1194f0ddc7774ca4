"""Store the requests of queued runs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Let rows of `waiting_runs` have a position in place of a state."""
    with op.batch_alter_table("waiting_runs") as table:
        table.alter_column("state", existing_type=sa.JSON(), nullable=True)
        table.alter_column("expires_at", existing_type=TEXT, nullable=True)
        table.add_column(sa.Column("position", sa.Integer))


def downgrade() -> None:
    """Delete queued runs, which can't begin any more, and restore the columns."""
    op.execute("DELETE FROM waiting_runs WHERE state IS NULL")
    with op.batch_alter_table("waiting_runs") as table:
        table.drop_column("position")
        table.alter_column("expires_at", existing_type=TEXT, nullable=False)
        table.alter_column("state", existing_type=sa.JSON(), nullable=False)
