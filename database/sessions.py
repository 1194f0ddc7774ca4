"""Queries on sessions."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.runs import OF_SESSION
from database.tables import idempotency_keys, insert_new, parameter, runs, sessions
from run_models import SessionKey
from session_models import Session, StoredSession
from usage_models import NO_USAGE, Usage

EMPTY_ROW = dict.fromkeys(sessions.columns.keys())
COST_DIGITS = 12  # decimals of a cost in US dollars; a sum of floats is inexact beyond them

CREATE = insert_new(sessions)
LATEST = sa.and_(
    runs.c.run_id == sessions.c.head_run_id,
    runs.c.owner == sessions.c.owner,
    runs.c.session_id == sessions.c.session_id,
)
DESCRIBE = sa.select(sessions, runs.c.status).outerjoin(runs, LATEST)
SUMS = [sa.func.sum(runs.c.usage[name].as_float()).label(name) for name in Usage.model_fields]
HAS_TOKENS = sa.or_(*(runs.c.usage[name].as_float() > 0 for name in ("input_tokens", "output_tokens")))
UNPRICED = sa.func.sum(sa.case((sa.and_(runs.c.usage["cost_usd"].as_float().is_(None), HAS_TOKENS), 1), else_=0))
USED = sa.select(runs.c.session_id, *SUMS, UNPRICED.label("unpriced")).group_by(runs.c.session_id)
"""The sums of the runs' usage, by the rules of `Usage`: a count that no run reports stays null.

Floats are exact up to 2^53 and can't overflow. `unpriced` is the number of runs with tokens of an unknown cost.
"""
THIS_SESSION = sa.and_(
    sessions.c.owner == parameter(sessions.c.owner), sessions.c.session_id == parameter(sessions.c.session_id)
)
GET = sa.select(sessions).where(THIS_SESSION)
DELETE = sa.delete(sessions).where(THIS_SESSION)
DELETE_KEYS = sa.delete(idempotency_keys).where(
    idempotency_keys.c.run_id.in_(sa.select(runs.c.run_id).where(OF_SESSION))
)


Recency = tuple[str, str]
"""The time of a session's last use, and its id: its place among the sessions of its owner."""


class Unused(NamedTuple):
    """A session that has not been used for long."""

    owner: str
    updated_at: str
    session_id: str


class Titled(NamedTuple):
    """The fields of a session that a search reads."""

    updated_at: str
    session_id: str
    title: str | None


async def create_session(connection: AsyncConnection, session: StoredSession) -> bool:
    """Write a new session. Returns False, and changes nothing, if its owner has one with this id."""
    row = EMPTY_ROW | session.model_dump(mode="json") | {"owner": session.owner}
    return (await connection.execute(CREATE[connection.dialect.name], row)).rowcount == 1


async def get_session(connection: AsyncConnection, key: SessionKey) -> StoredSession | None:
    """Return a session, None if it is unknown."""
    row = (await connection.execute(GET, key._asdict())).one_or_none()
    return None if row is None else StoredSession.model_validate(dict(row._mapping))


async def describe_session(connection: AsyncConnection, key: SessionKey) -> Session | None:
    """Return a session with its status and usage, None if it is unknown."""
    described = await describe_sessions(connection, key.owner, [key.session_id])
    return described[0] if described else None


async def describe_sessions(connection: AsyncConnection, owner: str, session_ids: Sequence[str]) -> list[Session]:
    """Return these sessions with their status and usage, the last used first. Unknown ones are left out."""
    query = DESCRIBE.where(sessions.c.session_id.in_(session_ids))
    return await _described(connection, owner, _last_used_first(query, owner))


async def list_sessions(
    connection: AsyncConnection, owner: str, *, before: Recency | None, limit: int
) -> list[Session]:
    """Return an owner's last used sessions first. `before` is the place of the last one of the page before."""
    return await _described(connection, owner, _last_used_first(DESCRIBE, owner, before).limit(limit))


async def list_titles(connection: AsyncConnection, owner: str, *, before: Recency | None, limit: int) -> list[Titled]:
    """Return the titles of an owner's last used sessions. `before` is as in `list_sessions`."""
    query = sa.select(sessions.c.updated_at, sessions.c.session_id, sessions.c.title)
    rows = await connection.execute(_last_used_first(query, owner, before).limit(limit))
    return [Titled(*row) for row in rows]


async def unused_sessions(
    connection: AsyncConnection, before: str, *, after: Unused | None, limit: int
) -> list[Unused]:
    """Return the sessions of all owners that were last used before a time. `after` is the last of the page before."""
    place = (sessions.c.owner, sessions.c.updated_at, sessions.c.session_id)
    query = sa.select(*place).where(sessions.c.updated_at < before).order_by(*place).limit(limit)
    if after is not None:
        query = query.where(sa.tuple_(*place) > after)
    return [Unused(*row) for row in await connection.execute(query)]


async def update_session(connection: AsyncConnection, key: SessionKey, values: Mapping[str, object]) -> None:
    """Set one or more columns of a session, if it exists."""
    this = sa.and_(sessions.c.owner == key.owner, sessions.c.session_id == key.session_id)
    await connection.execute(sa.update(sessions).where(this).values(values))


async def touch_session(
    connection: AsyncConnection, key: SessionKey, *, head_run_id: str, now: str, title: str | None
) -> None:
    """Record that a run has begun: it becomes the session's head, and `title` its title if it has none."""
    values = {"head_run_id": head_run_id, "updated_at": now, "title": sa.func.coalesce(sessions.c.title, title)}
    await update_session(connection, key, values)


async def set_head(connection: AsyncConnection, key: SessionKey, run_id: str | None) -> None:
    """Set the run that the session's next run follows, None for none."""
    await update_session(connection, key, {"head_run_id": run_id})


async def delete_session(connection: AsyncConnection, key: SessionKey) -> None:
    """Delete a session with its runs and their messages and idempotency keys."""
    await connection.execute(DELETE_KEYS, key._asdict())
    await connection.execute(DELETE, key._asdict())


def _last_used_first(query: sa.Select[Any], owner: str, before: Recency | None = None) -> sa.Select[Any]:
    """Keep and sort an owner's sessions in a query, and leave out those from `before` on."""
    ordered = query.where(sessions.c.owner == owner)
    ordered = ordered.order_by(sessions.c.updated_at.desc(), sessions.c.session_id.desc())
    if before is None:
        return ordered
    return ordered.where(sa.tuple_(sessions.c.updated_at, sessions.c.session_id) < before)


async def _described(connection: AsyncConnection, owner: str, query: sa.Select[Any]) -> list[Session]:
    """Return the sessions of an owner that a query selects, with the usage of their runs."""
    rows = (await connection.execute(query)).all()
    in_these = sa.and_(runs.c.owner == owner, runs.c.session_id.in_([row.session_id for row in rows]))
    used = {row.session_id: row for row in await connection.execute(USED.where(in_these))}
    return [Session(**row._mapping, usage=_usage(used.get(row.session_id))) for row in rows]


def _usage(sums: Any) -> Usage:
    """Return the usage of a session from its row of `USED`, or from None if it has no runs."""
    if sums is None:
        return NO_USAGE
    usage = {name: sums._mapping[name] for name in Usage.model_fields}
    known = usage["cost_usd"] is not None and not sums.unpriced
    return Usage(**usage | {"cost_usd": round(usage["cost_usd"], COST_DIGITS) if known else None})
