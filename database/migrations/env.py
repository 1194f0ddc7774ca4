"""What alembic runs around migrations: they use the connection that `database.migrate` hands over."""

from alembic import context

from database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite's ALTER TABLE can do little
)
with context.begin_transaction():
    context.run_migrations()
