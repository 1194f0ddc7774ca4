"""Store the model's thinking with the messages of sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add a column. It stays empty in earlier messages."""
    op.add_column("messages", sa.Column("thinking", TEXT))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("messages", "thinking")
