"""Describes the tables. To change one, change it here and write a migration: a test compares the two.

Times are texts, as in the models: RFC 3339 in UTC with milliseconds, so their order as texts is their order in time.
Columns are named after the models' fields.
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
    r"""Any text, sorted by its code points.

    PostgreSQL's text can't hold NUL, so NUL is stored as `\0` and a backslash as `\\`.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the collation C on PostgreSQL, which would otherwise sort by the rules of a language."""
        return postgresql.TEXT(collation="C") if dialect.name == "postgresql" else sa.Text()

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Return the text in its stored form."""
        if value is None or not ("\0" in value or "\\" in value):
            return value
        return value.replace("\\", "\\\\").replace("\0", "\\0")

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Return the text of a stored form."""
        if value is None or "\\" not in value:
            return value
        return "\\".join(part.replace("\\0", "\0") for part in value.split("\\\\"))


class Json(sa.JSON):
    """JSON as text, or NULL. It isn't PostgreSQL's jsonb, which refuses the escape of the character NUL."""

    def __init__(self) -> None:
        super().__init__(none_as_null=True)


metadata = sa.MetaData(naming_convention=NAMES)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("owner", Text, primary_key=True),
    sa.Column("session_id", Text, primary_key=True),
    sa.Column("title", Text),
    sa.Column("metadata", Json),
    sa.Column("head_run_id", Text),
    sa.Column("created_at", Text, nullable=False),
    sa.Column("updated_at", Text, nullable=False),
    sa.Index(None, "owner", "updated_at", "session_id"),
)
"""Callers choose the ids of sessions, so an id is unique for its owner only."""

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", Text, primary_key=True),
    sa.Column("owner", Text, nullable=False),
    sa.Column("session_id", Text),
    sa.Column("parent_run_id", Text),
    sa.Column("status", Text, nullable=False),
    sa.Column("model", Text, nullable=False),
    sa.Column("answered_by", Text),
    sa.Column("created_at", Text, nullable=False),
    sa.Column("finished_at", Text),
    sa.Column("last_seq", sa.Integer, nullable=False),
    sa.Column("on_disconnect", Text, nullable=False),
    sa.Column("metadata", Json),
    sa.Column("finish_reason", Text),
    sa.Column("usage", Json),
    sa.Column("steps", sa.Integer),
    sa.Column("error", Json),
    sa.ForeignKeyConstraint(
        ["owner", "session_id"], [sessions.c.owner, sessions.c.session_id], onupdate="CASCADE", ondelete="CASCADE"
    ),
    sa.Index(None, "owner", "run_id"),
    sa.Index(None, "owner", "session_id", "run_id"),
    sa.Index(None, "status", "run_id"),
)
"""The runs of a session form a tree by `parent_run_id`. A run whose parent was deleted is a root."""

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("run_id", Text, sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("role", Text, nullable=False),
    sa.Column("content", LongJson),
    sa.Column("thinking", Text),
    sa.Column("tool_calls", LongJson),
    sa.Column("tool_call_id", Text),
    sa.Column("is_error", sa.Boolean),
    sa.Column("sources", Json),
    sa.Column("data", LongJson),
    sa.Column("attempts", sa.Integer),
)
"""The messages that a run adds to its session: the question at position 0, the answer from 1 on.

With `attempts`, `data` is the answer's value, and NULL is the value null.
"""

provider_states = sa.Table(
    "provider_states",
    metadata,
    sa.Column("run_id", Text, sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("family", Text, nullable=False),
    sa.Column("message", LongJson, nullable=False),
    sa.Column("calls", LongJson, nullable=False),
)
"""The parts of an answer that its provider wants back with later requests, a row for each step of a run."""

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("owner", Text, primary_key=True),
    sa.Column("key", Text, primary_key=True),
    sa.Column("fingerprint", Text, nullable=False),
    sa.Column("run_id", Text, nullable=False),
    sa.Column("created_at", Text, nullable=False),
    sa.Index(None, "run_id"),
)
"""Callers choose the keys. `run_id` isn't a foreign key, because a key is written before its run."""

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
"""The data to resume a suspended run from, or to begin a queued one with. A row is kept until its run ends.

A queued run has a `position`: they begin in this order. A suspended run has a `state` (its checkpoint) and
`expires_at`. `run_id` isn't a foreign key.
"""

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_id", Text, primary_key=True),
    sa.Column("digest", Text, nullable=False),
    sa.Column("owner", Text, nullable=False),
    sa.Column("name", Text),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("models", Json),
    sa.Column("created_at", Text, nullable=False),
    sa.Column("expires_at", Text),
    sa.Column("last_used_at", Text),
    sa.Column("revoked_at", Text),
    sa.Index(None, "created_at", "key_id"),
    sa.Index(None, "owner", "created_at", "key_id"),
)
"""A key is not stored: `digest` is its HMAC. `key_id` is the beginning of the key."""

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
)
"""The number of changes of a table that processes keep in memory, by the table's name.

Each change adds one in its own transaction. A process that sees another number reads the table again.
"""

deleted_runs = sa.Table("deleted_runs", metadata, sa.Column("run_id", Text, primary_key=True))
"""Runs whose rows are deleted, and whose events still have to be deleted from the log."""

Statements = Mapping[str, sqlite.Insert | postgresql.Insert]
"""A statement for each database, by its dialect's name. Build it once: that takes longer than running it."""


def insert_new(table: sa.Table) -> Statements:
    """Build: insert a whole row, unless its key exists. The parameters have the names of the columns."""
    return {
        "sqlite": sqlite.insert(table).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(table).on_conflict_do_nothing(),
    }


def insert_from(table: sa.Table, query: sa.Select[Any]) -> Statements:
    """Build: insert the rows of a query whose keys don't exist. SQLite can parse it only if the query has a WHERE."""
    columns = table.columns.keys()
    return {
        "sqlite": sqlite.insert(table).from_select(columns, query).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(table).from_select(columns, query).on_conflict_do_nothing(),
    }


def upsert(table: sa.Table, *, where: sa.ColumnElement[bool] | None = None) -> Statements:
    """Build: insert whole rows, or replace those with the same keys. Rows for which `where` is false are skipped."""
    values = sa.select(*map(parameter, table.columns)).where(sa.true() if where is None else where)
    return {
        "sqlite": _replacing(sqlite.insert(table), table, values),
        "postgresql": _replacing(postgresql.insert(table), table, values),
    }


InsertT = TypeVar("InsertT", sqlite.Insert, postgresql.Insert)


def _replacing(insert: InsertT, table: sa.Table, values: sa.Select[Any]) -> InsertT:
    changed = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
    rows = insert.from_select(table.columns.keys(), values)
    return rows.on_conflict_do_update(index_elements=table.primary_key.columns, set_=changed)


def parameter(column: sa.Column[Any]) -> sa.BindParameter[Any]:
    """Make a parameter with the name and type of a column."""
    return sa.bindparam(column.name, type_=column.type)
