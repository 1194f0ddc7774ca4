"""Store the web pages that an answer cites with the messages of sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column. It stays empty in earlier messages."""
    op.add_column("messages", sa.Column("sources", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("messages", "sources")
