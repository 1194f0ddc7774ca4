"""Every route of the app with two callers: each has a rule, and nothing of one caller reaches the other.

The routes are those of the app itself. A new one fails these tests until it has a rule, and a body if it needs one.
"""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from callers import ADA, BOB, OPS, bearer, calling, guarded_service
from fake_dedalus import FakeDedalus
from fastapi.routing import iter_route_contexts
from local_tools import named
from service import SIMULATE, STREAM, Service, settings
from uuid_utils import uuid7
from waiting_runs import ASK, DELETE, deletes
from wire import answer

from access_models import Scope
from app import create_app
from routers.access_rules import RULES
from services.access.rules import PUBLIC

pytestmark = pytest.mark.anyio

MOUNTED = {"/openapi.json", "/static-offline-docs"}
"""Public routes that aren't FastAPI's: the document, and the files of its pages."""
NOBODY_S = {"run_id": f"run_{uuid7().hex}", "session_id": "nobody-s", "key_id": "as_000000000000", "owner": "nobody"}
OTHERS = {"tool_call_id": "call_1", "name": "docs", "path": "agent-stream.js"}
QUESTION = {"input": "?", "session_id": "mine"}
BODIES: dict[str, Any] = {
    "stream": QUESTION,
    "execute": QUESTION,
    "simulate": QUESTION | {"delay_ms": 0},
    "start_run": QUESTION,
    "decide_approval": {"approved": True},
    "decide_budget": {"approved": False},
    "send_tool_results": {"results": [{"tool_call_id": "call_1", "content": "x"}]},
    "create_session": {"session_id": "chat"},
    "update_session": {"title": "mine now"},
    "create_key": {"owner": "bob"},
    "rotate_key": {},
}
"""A valid body for each route that needs one."""


class Place(NamedTuple):
    """A route with one of its methods."""

    method: str
    path: str
    name: str

    def filled(self, **ids: str) -> str:
        """Return the path with these ids."""
        return re.sub(r"{(\w+)(:path)?}", lambda found: (ids | OTHERS)[found[1]], self.path)

    @property
    def owned_ids(self) -> set[str]:
        """Return the names of the ids in the path that belong to an owner."""
        return set(re.findall(r"{(\w+)", self.path)) & NOBODY_S.keys()


def every_place() -> Iterator[Place]:
    """Return each route of the app with each of its methods."""
    for context in iter_route_contexts(create_app(settings()).routes):
        for method in sorted(context.methods or ["GET"]):
            yield Place(method, str(context.path), str(context.name))


PLACES = [place for place in every_place() if place.path not in MOUNTED]
GUARDED = [place for place in PLACES if RULES[place.name] is not PUBLIC]
OWNED = [place for place in GUARDED if place.owned_ids and RULES[place.name].scope is not Scope.ADMIN]


class Given(NamedTuple):
    """A service in which ada has a session with two runs, of which one waits for her."""

    agent: Service
    ended: str
    waiting: str


@pytest.fixture(scope="module")
async def given() -> AsyncIterator[Given]:
    delete = deletes()
    async with FakeDedalus() as fake, guarded_service(fake.url, tools=named(delete)) as agent:
        async with calling(agent, ADA) as ada:
            ended = await ada.post(SIMULATE, {"delay_ms": 0, "session_id": "chat"}, **{"Idempotency-Key": "k"})
            fake.turn(*DELETE)
            waiting = await ada.post(f"{STREAM}?until=waiting", ASK | {"session_id": "chat"})
        fake.always(*answer("Yes."))
        yield Given(agent, ended.headers["x-run-id"], waiting.headers["x-run-id"])


async def asked(agent: Service, place: Place, key: str | None, **ids: str) -> httpx.Response:
    headers = {"Accept": "application/json"} | ({} if key is None else bearer(key))
    return await agent.client.request(
        place.method, place.filled(**NOBODY_S | ids), json=BODIES.get(place.name), headers=headers
    )


def told(response: httpx.Response) -> tuple[int, Any]:
    """Return what a response says, without what differs in each."""
    error = response.json()["error"]
    return response.status_code, error | {"request_id": None}


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    """The table of rules has each route of the app, and no others; routes with a body have one here."""
    assert {place.name for place in PLACES} == RULES.keys()
    assert len(GUARDED) > 25
    with_body = {place.name for place in GUARDED if place.method in {"POST", "PATCH"}}
    assert with_body - {"cancel_run", "create_run_token"} == BODIES.keys()


@pytest.mark.parametrize("place", PLACES, ids=" ".join)
async def test_without_credentials_only_what_is_public_is_answered(place: Place, given: Given) -> None:
    """Each other route is a 401 before anything else is looked at."""
    response = await asked(given.agent, place, None, run_id=given.ended, session_id="chat")
    if RULES[place.name] is PUBLIC:
        assert response.status_code == 200
    else:
        assert response.status_code == 401
        if place.method != "HEAD":
            assert response.json()["error"]["code"] == "unauthenticated"


@pytest.mark.parametrize("place", [place for place in GUARDED if RULES[place.name].scope is Scope.ADMIN], ids=" ".join)
async def test_only_admins_get_at_the_routes_of_admins(place: Place, given: Given) -> None:
    """Another caller is refused, whatever the id."""
    assert (await asked(given.agent, place, BOB)).status_code == 403
    assert (await asked(given.agent, place, OPS)).status_code in {201, 200, 204, 404}


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("place", OWNED, ids=" ".join)
async def test_another_caller_s_id_is_answered_like_an_unknown_one(place: Place, accept: str, given: Given) -> None:
    """Status, code and message are the same for bob, and ada's runs and session stay as they are."""
    agent = given.agent
    async with calling(agent, BOB, Accept=accept) as bob, calling(agent, ADA) as ada:
        before = await everything_of(ada)
        unknown = await bob.client.request(place.method, place.filled(**NOBODY_S), json=BODIES.get(place.name))
        for run_id in (given.ended, given.waiting):
            path = place.filled(**NOBODY_S | {"run_id": run_id, "session_id": "chat"})
            theirs = await bob.client.request(place.method, path, json=BODIES.get(place.name))
            assert told(theirs) == told(unknown)
        assert unknown.status_code == 404
        assert await everything_of(ada) == before


async def everything_of(caller: Service) -> list[str]:
    """Return all that a caller can read of its runs and sessions."""
    paths = ["/api/agent/runs", "/api/agent/sessions", "/api/agent/sessions/chat/messages?tree=true"]
    return [(await caller.client.get(path)).text for path in paths]


async def test_lists_and_searches_have_nothing_of_another_caller(given: Given) -> None:
    """Runs, sessions and titles are listed for their owner; filters by another's ids find nothing."""
    async with calling(given.agent, ADA) as ada:
        listed = (await ada.client.get("/api/agent/runs")).text
        assert given.ended in listed
        assert given.waiting in listed
    async with calling(given.agent, BOB) as bob:
        for path in ("runs", "runs?session_id=chat", "runs?status=waiting", "sessions", "sessions?q=chat"):
            text = (await bob.client.get(f"/api/agent/{path}")).text
            assert given.ended not in text, path
            assert given.waiting not in text, path
            assert "chat" not in text, path


async def test_ids_in_bodies_and_headers_are_the_caller_s_own(given: Given) -> None:
    """The same session and key mean each caller's own, and another's run is no parent."""
    async with calling(given.agent, BOB) as bob:
        begun = await bob.post(SIMULATE, {"delay_ms": 0, "session_id": "chat"}, **{"Idempotency-Key": "k"})
        parent = await bob.post(STREAM, {"input": "?", "session_id": "chat", "parent_run_id": given.ended})
        messages = (await bob.client.get("/api/agent/sessions/chat/messages?tree=true")).json()["messages"]
        branch = await bob.client.get("/api/agent/sessions/chat/messages", params={"run_id": given.ended})
        await bob.client.delete("/api/agent/sessions/chat")
    assert begun.headers["x-run-id"] not in {given.ended, given.waiting}
    assert parent.json()["error"]["code"] == "invalid_parent"
    assert {message["run_id"] for message in messages} == {begun.headers["x-run-id"]}
    assert branch.json()["error"]["code"] == "run_not_found"
    async with calling(given.agent, ADA) as ada:
        assert (await ada.client.get("/api/agent/sessions/chat")).json()["head_run_id"] == given.waiting
