"""The tables. To change one, change it here and write a migration: a test holds the two together.

Times are the models' texts: RFC 3339 in UTC with milliseconds, which sort as they follow each other. Columns are named
after the models' fields.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from database.long_json import LongJson

NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


class Text(sa.TypeDecorator[str]):
    r"""Any text, in the order of its code points.

    PostgreSQL's text can't hold NUL, so `\0` stands for it, and `\\` for a backslash.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """PostgreSQL would sort by the rules of a language; SQLite doesn't."""
        return postgresql.TEXT(collation="C") if dialect.name == "postgresql" else sa.Text()

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """As it is stored."""
        if value is None or not ("\0" in value or "\\" in value):
            return value
        return value.replace("\\", "\\\\").replace("\0", "\\0")

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """As it was given."""
        if value is None or "\\" not in value:
            return value
        return "\\".join(part.replace("\\0", "\0") for part in value.split("\\\\"))


class Json(sa.JSON):
    """JSON text, in which NUL is an escape, or NULL. Not PostgreSQL's jsonb, which refuses that escape."""

    def __init__(self) -> None:
        super().__init__(none_as_null=True)


metadata = sa.MetaData(naming_convention=NAMES)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("session_id", Text, primary_key=True),
    sa.Column("title", Text),
    sa.Column("metadata", Json),
    sa.Column("head_run_id", Text),
    sa.Column("created_at", Text, nullable=False),
    sa.Column("updated_at", Text, nullable=False),
    sa.Index(None, "updated_at", "session_id"),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", Text, primary_key=True),
    sa.Column("session_id", Text, sa.ForeignKey("sessions.session_id", ondelete="CASCADE")),
    sa.Column("parent_run_id", Text),
    sa.Column("status", Text, nullable=False),
    sa.Column("model", Text, nullable=False),
    sa.Column("created_at", Text, nullable=False),
    sa.Column("finished_at", Text),
    sa.Column("last_seq", sa.Integer, nullable=False),
    sa.Column("on_disconnect", Text, nullable=False),
    sa.Column("metadata", Json),
    sa.Column("finish_reason", Text),
    sa.Column("usage", Json),
    sa.Column("steps", sa.Integer),
    sa.Column("error", Json),
    sa.Index(None, "session_id", "run_id"),
    sa.Index(None, "status", "run_id"),
)
"""The runs of a session are a tree by `parent_run_id`; a run whose parent is gone is a root."""

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("run_id", Text, sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("session_id", Text, nullable=False),
    sa.Column("role", Text, nullable=False),
    sa.Column("content", LongJson),
    sa.Column("thinking", Text),
    sa.Column("tool_calls", LongJson),
    sa.Column("tool_call_id", Text),
    sa.Column("is_error", sa.Boolean),
    sa.Index(None, "session_id", "run_id", "position"),
)
"""What a run adds to its session: at position 0 what was asked, and from 1 on the answer."""

provider_states = sa.Table(
    "provider_states",
    metadata,
    sa.Column("run_id", Text, sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("family", Text, nullable=False),
    sa.Column("message", LongJson, nullable=False),
    sa.Column("calls", LongJson, nullable=False),
)
"""What goes back with the answers of a run's steps, which its messages don't hold."""

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("key", Text, primary_key=True),
    sa.Column("fingerprint", Text, nullable=False),
    sa.Column("run_id", Text, nullable=False),
    sa.Column("created_at", Text, nullable=False),
    sa.Index(None, "run_id"),
)
"""`run_id` refers to no row: a key is there before its run."""

waiting_runs = sa.Table(
    "waiting_runs",
    metadata,
    sa.Column("run_id", Text, primary_key=True),
    sa.Column("pending", Json, nullable=False),
    sa.Column("request", LongJson, nullable=False),
    sa.Column("state", LongJson),
    sa.Column("expires_at", Text),
    sa.Column("position", sa.Integer),
)
"""What a run needs to go on that waits, or has waited, for a person or for its turn; kept until the run ends.

A run that waits for its turn has a `position`: the turns are taken in this order. One that waits for a person has a
`state` and `expires_at`. `run_id` refers to no row.
"""

deleted_runs = sa.Table("deleted_runs", metadata, sa.Column("run_id", Text, primary_key=True))
"""Runs whose events have to be deleted from the log. Their rows are deleted already."""

Statements = Mapping[str, sqlite.Insert | postgresql.Insert]
"""A statement in the words of each database, by its dialect's name. Make it once: that takes longer than to run it."""


def insert_new(table: sa.Table) -> Statements:
    """Insert a whole row, whose values are parameters with the columns' names, unless its key is there already."""
    return {
        "sqlite": sqlite.insert(table).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(table).on_conflict_do_nothing(),
    }


def insert_from(table: sa.Table, query: sa.Select[Any]) -> Statements:
    """Insert the rows of a query likewise. SQLite can read it only if it has a condition."""
    columns = table.columns.keys()
    return {
        "sqlite": sqlite.insert(table).from_select(columns, query).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(table).from_select(columns, query).on_conflict_do_nothing(),
    }


def upsert(table: sa.Table, *, where: sa.ColumnElement[bool] | None = None) -> Statements:
    """Insert whole rows likewise, but in place of those with their keys; only those of which `where` is true."""
    values = sa.select(*map(given, table.columns)).where(sa.true() if where is None else where)
    return {
        "sqlite": _replacing(sqlite.insert(table), table, values),
        "postgresql": _replacing(postgresql.insert(table), table, values),
    }


InsertT = TypeVar("InsertT", sqlite.Insert, postgresql.Insert)


def _replacing(insert: InsertT, table: sa.Table, values: sa.Select[Any]) -> InsertT:
    changed = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
    rows = insert.from_select(table.columns.keys(), values)
    return rows.on_conflict_do_update(index_elements=table.primary_key.columns, set_=changed)


def given(column: sa.Column[Any]) -> sa.BindParameter[Any]:
    """The parameter with a column's name."""
    return sa.bindparam(column.name, type_=column.type)
