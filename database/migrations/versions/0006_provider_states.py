"""Store the parts of answers that providers want back: reasoning, signatures, the text of arguments."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create a table, `provider_states`. Earlier answers have no rows in it."""
    op.create_table(
        "provider_states",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("family", TEXT, nullable=False),
        sa.Column("message", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("calls", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_provider_states_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "step", name="pk_provider_states"),
    )


def downgrade() -> None:
    """Drop the table: later requests don't send these parts back."""
    op.drop_table("provider_states")
