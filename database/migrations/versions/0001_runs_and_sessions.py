"""Create the tables of runs, sessions, messages and idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "sessions",
        sa.Column("session_id", TEXT, nullable=False),
        sa.Column("title", TEXT),
        sa.Column("metadata", sa.JSON),
        sa.Column("head_run_id", TEXT),
        sa.Column("created_at", TEXT, nullable=False),
        sa.Column("updated_at", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("session_id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_updated_at_session_id", "sessions", ["updated_at", "session_id"])
    _create_runs()
    _create_messages()
    op.create_table(
        "idempotency_keys",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("created_at", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_run_id", "idempotency_keys", ["run_id"])


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("session_id", TEXT),
        sa.Column("parent_run_id", TEXT),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("created_at", TEXT, nullable=False),
        sa.Column("finished_at", TEXT),
        sa.Column("last_seq", sa.Integer, nullable=False),
        sa.Column("on_disconnect", TEXT, nullable=False),
        sa.Column("metadata", sa.JSON),
        sa.Column("finish_reason", TEXT),
        sa.Column("usage", sa.JSON),
        sa.Column("steps", sa.Integer),
        sa.Column("error", sa.JSON),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"], name="fk_runs_session_id", ondelete="CASCADE"),
    )
    op.create_index("ix_runs_session_id_run_id", "runs", ["session_id", "run_id"])
    op.create_index("ix_runs_status_run_id", "runs", ["status", "run_id"])


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("session_id", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("content", sa.JSON),
        sa.Column("tool_calls", sa.JSON),
        sa.Column("tool_call_id", TEXT),
        sa.Column("is_error", sa.Boolean),
        sa.PrimaryKeyConstraint("run_id", "position", name="pk_messages"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_messages_run_id", ondelete="CASCADE"),
    )
    op.create_index("ix_messages_session_id_run_id_position", "messages", ["session_id", "run_id", "position"])
