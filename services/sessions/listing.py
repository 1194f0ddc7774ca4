"""Makes pages of sessions, the last used first: of all sessions, or of those that a search finds."""

import re
from collections.abc import Sequence
from unicodedata import normalize

from database.engine import Connection
from database.sessions import Recency, Titled, describe_sessions, list_sessions, list_titles
from errors import InvalidCursor
from session_models import Session, SessionList

SEARCHED = 2_000  # sessions that one page of a search looks at: some 10 ms
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def place_of(cursor: str | None) -> Recency | None:
    """Return the place after which a page begins, None for the first page. Raise `InvalidCursor`."""
    if cursor is None:
        return None
    updated_at, _, session_id = cursor.partition("_")
    if not (TIME.fullmatch(updated_at) and session_id):
        raise InvalidCursor("The cursor is not a next_cursor of this list.")
    return updated_at, session_id


def words_of(text: str) -> list[str]:
    """Return the words of a search, or of nothing if the text has none."""
    return _folded(text).split()


def matches(session: Titled, words: Sequence[str]) -> bool:
    """Return whether a title contains all of the words. A session without a title is known by its id."""
    title = _folded(session.title or session.session_id)
    return all(word in title for word in words)


async def all_sessions(connection: Connection, owner: str, before: Recency | None, limit: int) -> SessionList:
    """Return a page of an owner's sessions."""
    # One session more than the page holds shows whether there is a next page.
    sessions = await list_sessions(connection, owner, before=before, limit=limit + 1)
    last = sessions[limit - 1] if len(sessions) > limit else None
    return SessionList(sessions=sessions[:limit], next_cursor=_cursor(last))


async def found_sessions(
    connection: Connection, owner: str, words: Sequence[str], before: Recency | None, limit: int
) -> SessionList:
    """Return a page of an owner's sessions whose titles contain all of the words.

    A page looks at `SEARCHED` sessions at most, so it can have fewer sessions than `limit` and still have a next page.
    The titles are compared here, because the databases fold only the case of ASCII letters.
    """
    titles = await list_titles(connection, owner, before=before, limit=SEARCHED + 1)
    found = [session for session in titles[:SEARCHED] if matches(session, words)]
    last = None
    if len(found) > limit:
        last = found[limit - 1]
    elif len(titles) > SEARCHED:
        last = titles[SEARCHED - 1]
    sessions = await describe_sessions(connection, owner, [session.session_id for session in found[:limit]])
    return SessionList(sessions=sessions, next_cursor=_cursor(last))


def _folded(text: str) -> str:
    """Return a text in one case and one Unicode form, so that equal words compare as equal."""
    return normalize("NFKC", text.casefold())


def _cursor(last: Session | Titled | None) -> str | None:
    return None if last is None else f"{last.updated_at}_{last.session_id}"
