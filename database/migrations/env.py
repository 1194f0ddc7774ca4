"""Runs the migrations on the connection that `database.migrate` passes. Alembic executes this file."""

from alembic import context

from database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # copies a table where SQLite's ALTER TABLE can't change it
)
with context.begin_transaction():
    context.run_migrations()
