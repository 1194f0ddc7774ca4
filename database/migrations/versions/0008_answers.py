"""Store which model answered a run, and the value of an answer that matches a schema."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns. They stay empty in earlier rows."""
    op.add_column("runs", sa.Column("answered_by", TEXT))
    op.add_column("messages", sa.Column("data", sa.JSON(none_as_null=True)))
    op.add_column("messages", sa.Column("attempts", sa.Integer()))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("messages", "attempts")
    op.drop_column("messages", "data")
    op.drop_column("runs", "answered_by")
