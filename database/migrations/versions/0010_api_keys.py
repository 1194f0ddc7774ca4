"""Store API keys, and count their changes."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables `api_keys` and `revisions`."""
    op.create_table(
        "api_keys",
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("name", TEXT),
        sa.Column("scopes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("models", sa.JSON(none_as_null=True)),
        sa.Column("created_at", TEXT, nullable=False),
        sa.Column("expires_at", TEXT),
        sa.Column("last_used_at", TEXT),
        sa.Column("revoked_at", TEXT),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_created_at_key_id", "api_keys", ["created_at", "key_id"])
    op.create_index("ix_api_keys_owner_created_at_key_id", "api_keys", ["owner", "created_at", "key_id"])
    op.create_table(
        "revisions",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_revisions"),
    )


def downgrade() -> None:
    """Drop the tables: no key is valid any more."""
    op.drop_table("revisions")
    op.drop_table("api_keys")
