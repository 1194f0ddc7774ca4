"""Tests the search in the titles of sessions."""

import pytest
from databases import NOON, make_session
from fake_dedalus import FakeDedalus
from service import service
from session_calls import SESSIONS, refusal

from database.engine import Connection, Database
from database.sessions import Titled, create_session
from run_models import ANONYMOUS
from services.sessions.listing import SEARCHED, found_sessions, matches, place_of, words_of
from session_models import StoredSession

pytest_plugins = "database_fixtures"
pytestmark = pytest.mark.anyio


async def add(connection: Connection, *sessions: StoredSession) -> None:
    for session in sessions:
        await create_session(connection, session)


async def found(connection: Connection, search: str, limit: int = 2) -> list[list[str]]:
    """Return the ids on each page of a search."""
    pages: list[list[str]] = []
    cursor = None
    while True:
        page = await found_sessions(connection, ANONYMOUS, words_of(search), place_of(cursor), limit)
        pages.append([session.session_id for session in page.sessions])
        if (cursor := page.next_cursor) is None:
            return pages


@pytest.mark.parametrize(
    ("title", "search", "is_found"),
    [
        ("The weather in Oslo", "weather in", True),
        ("The weather in Oslo", "OSLO  wea", True),
        ("The weather in Oslo", "weather bergen", False),
        ("Ærøskøbing ÉTÉ", "ærøsKØB été", True),
        ("e\u0301te\u0301", "Été", True),
        ("Straße", "STRASSE", True),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς", True),
        ("Привет, мир", "МИР", True),
        ("東京の天気", "天気", True),
        ("100 % of a_b\\c", "% a_b\\", True),
        ("1000", "%", False),
        ("axb", "a_b", False),
        (None, "CHAT", True),
        ("Tides", "chat", False),
    ],
)
def test_words_are_found_in_any_order_and_case(title: str | None, search: str, is_found: bool) -> None:
    """Also outside ASCII, and with characters that mean something to SQL. The id stands in for a missing title."""
    assert matches(Titled(NOON, "chat-1", title), words_of(search)) == is_found


async def test_the_pages_of_a_search_have_each_session_once(database: Database) -> None:
    """The last used come first. The cursor goes on behind the last session of the page."""
    times = [f"2026-11-22T12:00:0{number}.000Z" for number in range(7)]
    async with database.writing() as connection:
        await add(connection, *(make_session(f"yes-{n}", time, title="Tides") for n, time in enumerate(times)))
        await add(connection, *(make_session(f"no-{n}", time, title="Moons") for n, time in enumerate(times)))
        assert await found(connection, "tides") == [
            ["yes-6", "yes-5"],
            ["yes-4", "yes-3"],
            ["yes-2", "yes-1"],
            ["yes-0"],
        ]


async def test_a_page_looks_at_a_limited_number_of_sessions(database: Database) -> None:
    """A session behind many others is on a later page, and the pages before it are short."""
    others = [make_session(f"other-{number:04}", title="Moons") for number in range(SEARCHED)]
    async with database.writing() as connection:
        await add(connection, make_session("a", title="Tides"), *others)
        assert await found(connection, "tides") == [[], ["a"]]


async def test_the_route_searches_and_keeps_its_limits() -> None:
    """`q` goes with the other parameters. One of spaces finds everything, and a long one is refused."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        for title in ("Ebbe in Norwegen", "Flut", "ÜBER EBBE"):
            await agent.client.post(SESSIONS, json={"title": title})

        async def titles(**query: str | int) -> list[str]:
            answer = (await agent.client.get(SESSIONS, params=query)).raise_for_status().json()
            return [session["title"] for session in answer["sessions"]]

        assert await titles(q="über ebbe") == ["ÜBER EBBE"]
        assert await titles(q="ebbe", limit=1) == ["ÜBER EBBE"]
        assert len(await titles(q="  ")) == 3
        assert len(await titles(q="x" * 200)) == 0
        assert refusal(await agent.client.get(SESSIONS, params={"q": "x" * 201})) == (422, "invalid_request")
        assert refusal(await agent.client.get(SESSIONS, params={"q": "x", "cursor": "x"})) == (400, "invalid_cursor")
