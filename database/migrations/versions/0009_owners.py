"""Give sessions, runs and idempotency keys an owner. What exists belongs to `anonymous`."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
OWNED = ("sessions", "runs", "idempotency_keys")


def upgrade() -> None:
    """Make (owner, session_id) and (owner, key) the keys. Messages have their session by their run alone."""
    for table in OWNED:
        op.add_column(table, sa.Column("owner", TEXT, nullable=False, server_default="anonymous"))
    op.drop_index("ix_messages_session_id_run_id_position", "messages")
    op.drop_column("messages", "session_id")
    with op.batch_alter_table("runs") as runs:
        runs.drop_index("ix_runs_session_id_run_id")
        runs.drop_constraint("fk_runs_session_id", type_="foreignkey")
        runs.alter_column("owner", existing_type=TEXT, existing_nullable=False, server_default=None)
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_index("ix_sessions_updated_at_session_id")
        sessions.drop_constraint("pk_sessions", type_="primary")
        sessions.alter_column("owner", existing_type=TEXT, existing_nullable=False, server_default=None)
        sessions.create_primary_key("pk_sessions", ["owner", "session_id"])
    with op.batch_alter_table("runs") as runs:
        runs.create_foreign_key(
            "fk_runs_owner_session_id",
            "sessions",
            ["owner", "session_id"],
            ["owner", "session_id"],
            onupdate="CASCADE",
            ondelete="CASCADE",
        )
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.drop_constraint("pk_idempotency_keys", type_="primary")
        keys.alter_column("owner", existing_type=TEXT, existing_nullable=False, server_default=None)
        keys.create_primary_key("pk_idempotency_keys", ["owner", "key"])
    op.create_index("ix_sessions_owner_updated_at_session_id", "sessions", ["owner", "updated_at", "session_id"])
    op.create_index("ix_runs_owner_run_id", "runs", ["owner", "run_id"])
    op.create_index("ix_runs_owner_session_id_run_id", "runs", ["owner", "session_id", "run_id"])


def downgrade() -> None:
    """Refuse: the ids of two owners may be the same."""
    raise RuntimeError("Restore the backup that was made before the upgrade.")
