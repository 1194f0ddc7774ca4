"""Who may call, through the whole service: credentials, scopes, acting for others, and what a revoked key ends."""

import asyncio

import httpx
import pytest
from callers import ADA, BOB, KEYS, ME, OPS, bearer, calling, code_of, guarded_service, new_key
from fake_dedalus import FakeDedalus
from live_tasks import task_of, when
from run_readers import events_url
from service import NOWHERE, SIMULATE, STREAM, checked, names, only, service
from wire import Gate, Text, WaitFor, answer

pytestmark = pytest.mark.anyio

RUNS = "/api/agent/runs"
SESSIONS = "/api/agent/sessions"


# Authentication off


async def test_without_authentication_everybody_is_anonymous() -> None:
    """Nothing is asked, credentials have no meaning, and nobody is an admin."""
    async with service(NOWHERE) as agent:
        for headers in ({}, bearer("nothing"), {"X-API-Key": "x"}):
            me = await agent.client.get(ME, headers=headers)
            assert me.json() == {"owner": "anonymous", "scopes": ["runs:read", "runs:write"]}
        assert code_of(await agent.client.get(KEYS)) == (403, "forbidden")
        acting = await agent.client.get(ME, headers={"X-Act-As": "ada"})
        events = await agent.stream({"delay_ms": 0}, SIMULATE)
        document = (await agent.client.get("/openapi.json")).json()
    assert code_of(acting) == (403, "forbidden")
    assert "owner" not in events[0]["data"]
    assert "securitySchemes" not in document["components"]


# Credentials


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong-key-0123456789"),
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YWRhOg=="},
        {"Authorization": ADA},
        {"X-API-Key": "as_000000000000_" + "0" * 43},
        {"X-Act-As": "ada"},
    ],
)
async def test_a_request_without_a_valid_key_is_refused(headers: dict[str, str]) -> None:
    """Missing, wrong and malformed keys have one answer, before the body is looked at."""
    async with guarded_service() as agent:
        response = await agent.client.post(STREAM, content=b"{", headers=headers)
        assert code_of(response) == (401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"


async def test_a_stream_is_refused_in_frames() -> None:
    """A client of streams that names no JSON gets the two frames of a refusal, under the status 401."""
    async with guarded_service() as agent:
        response = await agent.post(STREAM, {"input": "?"}, accept="text/event-stream")
    assert response.status_code == 401
    assert response.headers["content-type"].startswith("text/event-stream")
    assert [line for line in response.text.splitlines() if line.startswith("event:")] == [
        "event: error",
        "event: complete",
    ]
    assert '"code":"unauthenticated"' in response.text


@pytest.mark.parametrize(
    "headers",
    [bearer(ADA), {"Authorization": f"bearer  {ADA}"}, {"X-API-Key": ADA}, bearer(ADA) | {"X-API-Key": BOB}],
)
async def test_a_key_is_sent_in_either_header(headers: dict[str, str]) -> None:
    """As a bearer token in any case, or as X-API-Key; a bearer token wins."""
    async with guarded_service() as agent:
        me = await agent.client.get(ME, headers=headers)
    assert me.json() == {"owner": "ada", "scopes": ["runs:read", "runs:write"]}


async def test_health_and_what_pages_load_need_no_key() -> None:
    """The checks, the documents and the page's files are public."""
    async with guarded_service() as agent:
        for path in ("/", "/health", "/ready", "/docs", "/redoc", "/openapi.json", "/static/agent-stream.js"):
            assert (await agent.client.get(path)).status_code == 200, path


async def test_a_key_of_the_database_is_a_key_of_its_owner() -> None:
    """It has its id, its models and its scopes, until it has expired."""
    async with guarded_service() as agent:
        made = await new_key(agent, models=["simulated/*"], scopes=["runs:read"])
        me = await agent.client.get(ME, headers=bearer(made.key))
    expected = {"owner": "cy", "scopes": ["runs:read"], "models": ["simulated/*"], "key_id": made.key_id}
    assert me.json() == expected
    assert made.key.startswith(f"{made.key_id}_")


async def test_pages_of_allowed_origins_may_send_keys() -> None:
    """A preflight lets the headers of callers in, without a key, and answers show what a page needs to know."""
    wanted = "authorization,x-api-key,x-provider-key,idempotency-key,last-event-id,x-act-as"
    origin = {"Origin": "http://localhost:3000"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
    async with guarded_service() as agent:
        preflight = await agent.client.options(STREAM, headers=origin | asked)
        refused = await agent.client.get(ME, headers=origin)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-headers"] == wanted
    assert code_of(refused) == (401, "unauthenticated")
    exposed = set(refused.headers["access-control-expose-headers"].split(", "))
    assert {"WWW-Authenticate", "Retry-After", "RateLimit", "RateLimit-Policy"} <= exposed


# Scopes


async def test_each_scope_opens_its_routes() -> None:
    """A key that reads can't write, one that writes can't read, and only an admin gets at keys."""
    async with guarded_service() as agent:
        reads, writes = await new_key(agent, scopes=["runs:read"]), await new_key(agent, scopes=["runs:write"])
        async with calling(agent, reads.key) as reader, calling(agent, writes.key) as writer:
            run = await writer.post(SIMULATE, {"delay_ms": 0})
            path = f"{RUNS}/{run.headers['x-run-id']}"
            assert run.status_code == 200
            assert (await reader.client.get(path)).status_code == 200
            assert code_of(await writer.client.get(path)) == (403, "forbidden")
            assert code_of(await reader.post(SIMULATE, {"delay_ms": 0})) == (403, "forbidden")
            assert code_of(await reader.client.delete(path)) == (403, "forbidden")
            for caller in (reader, writer):
                assert code_of(await caller.client.get(KEYS)) == (403, "forbidden")


async def test_a_key_uses_its_models_only() -> None:
    """The model, the default one and fallbacks have to be allowed; the operator's fallbacks are left out otherwise."""
    fallbacks = {"test/model": ("b/two", "test/spare")}
    async with FakeDedalus() as fake, guarded_service(fake.url, fallback_models=fallbacks) as agent:
        made = await new_key(agent, models=["test/*"])
        async with calling(agent, made.key) as caller:
            refused = [
                await caller.post(STREAM, {"input": "?", "model": "b/two"}),
                await caller.post(STREAM, {"input": "?", "fallback_models": ["b/two"]}),
            ]
            fake.turn(*answer("Yes."))
            events = await caller.stream({"input": "?"})
            simulated = await caller.post(SIMULATE, {"delay_ms": 0})
    assert [code_of(response) for response in refused] == [(403, "forbidden")] * 2
    assert "b/two" in refused[0].json()["error"]["message"]
    assert only(events, "complete")[0]["status"] == "succeeded"
    assert simulated.status_code == 200
    assert [chat.body["model"] for chat in fake.chats] == ["test/model"]


# Acting for others


async def test_an_admin_acts_for_another_owner() -> None:
    """What it makes belongs to that owner, and it sees that owner's runs; nobody else may."""
    async with guarded_service() as agent:
        async with calling(agent, OPS, **{"X-Act-As": "ada"}) as acting, calling(agent, ADA) as ada:
            run = await acting.post(SIMULATE, {"delay_ms": 0, "session_id": "chat"})
            assert (await ada.client.get(f"{RUNS}/{run.headers['x-run-id']}")).status_code == 200
            me = (await acting.client.get(ME)).json()
        async with calling(agent, OPS) as ops:
            assert code_of(await ops.client.get(f"{SESSIONS}/chat")) == (404, "session_not_found")
            assert code_of(await ops.client.get(ME, headers={"X-Act-As": "no one"})) == (422, "invalid_request")
        async with calling(agent, BOB, **{"X-Act-As": "ada"}) as bob:
            assert code_of(await bob.client.get(ME)) == (403, "forbidden")
    assert me == {"owner": "ada", "scopes": ["admin"], "admin": "ops"}
    assert checked(run.content)[0]["data"]["owner"] == "ada"


# The end of a key


async def test_a_revoked_key_loses_its_streams_and_not_its_runs() -> None:
    """The stream is torn, and reading it again is refused, while the run goes on to its end."""
    gate = Gate()
    async with FakeDedalus() as fake, guarded_service(fake.url) as agent:
        made = await new_key(agent)
        fake.turn(Text("one "), WaitFor(gate), *answer("two"))
        body = {"input": "?", "on_disconnect": "continue"}
        async with agent.client.stream("POST", STREAM, json=body, headers=bearer(made.key)) as response:
            run_id = response.headers["x-run-id"]
            async with calling(agent, OPS) as ops:
                revoked = await ops.client.delete(f"{KEYS}/{made.key_id}")
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in response.aiter_raw():
                    pass
        task = task_of(agent, run_id)
        again = await agent.client.get(events_url(run_id), headers=bearer(made.key))
        gate.open()
        await task.ended
        async with calling(agent, OPS, **{"X-Act-As": "cy"}) as acting:
            run = (await acting.client.get(f"{RUNS}/{run_id}")).json()
    assert revoked.json()["revoked_at"]
    assert code_of(again) == (401, "unauthenticated")
    assert run["status"] == "succeeded"


async def test_other_streams_go_on_when_a_key_is_revoked() -> None:
    """Neither another key of the same owner nor another owner's is concerned."""
    gate = Gate()
    async with FakeDedalus() as fake, guarded_service(fake.url) as agent:
        first, second = await new_key(agent), await new_key(agent)
        fake.turn(Text("one "), WaitFor(gate), *answer("two"))
        async with calling(agent, second.key) as caller:
            reading = asyncio.create_task(caller.stream({"input": "?"}))
            await when(lambda: bool(agent.app.state.gate._keys._left))
            await agent.app.state.api_keys.revoke(first.key_id)
            gate.open()
            events = await reading
    assert names(events)[-1] == "complete"
