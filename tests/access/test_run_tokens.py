"""Tokens that read one run: what they open, how long, and where they are not to be found."""

from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from callers import ADA, API_KEYS, BOB, KEYS, OPS, bearer, calling, code_of, guarded_service, new_key
from grammar import parse_frames
from process import Nursery, forked_app
from run_readers import events_url
from service import NOWHERE, SIMULATE, Service, service

from services.access.caller import ANYBODY, Caller
from services.access.run_tokens import ALGORITHM, VALID, RunTokens

pytestmark = pytest.mark.anyio

RUNS = "/api/agent/runs"
SECRET = b"s" * 32
READER = Caller("ada", ANYBODY.scopes, "as_000000000000")


async def simulated(caller: Service) -> str:
    response = await caller.post(SIMULATE, {"delay_ms": 0, "session_id": "chat"})
    run_id: str = response.headers["x-run-id"]
    return run_id


async def token_of(caller: Service, run_id: str) -> str:
    response = await caller.client.post(f"{RUNS}/{run_id}/token")
    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    token: str = response.json()["token"]
    return token


async def test_a_token_reads_its_run_and_nothing_else() -> None:
    """Its record and its events, by GET alone: no other run, no list, and nothing that changes something."""
    async with guarded_service() as agent, calling(agent, ADA) as ada:
        run_id, other = await simulated(ada), await simulated(ada)
        token = await token_of(ada, run_id)
        run = await agent.client.get(f"{RUNS}/{run_id}", params={"token": token})
        events = await agent.client.get(events_url(run_id), params={"token": token, "after": 1})
        whole = await ada.client.get(events_url(run_id))
        for path in (f"{RUNS}/{other}", events_url(other), RUNS, "/api/agent/sessions/chat", "/api/agent/me"):
            assert code_of(await agent.client.get(path, params={"token": token})) == (403, "forbidden"), path
        for method, path in (("DELETE", f"{RUNS}/{run_id}"), ("POST", f"{RUNS}/{run_id}/cancel")):
            response = await agent.client.request(method, path, params={"token": token})
            assert code_of(response) == (401, "unauthenticated"), path
        wrong = await agent.client.get(f"{RUNS}/{run_id}", params={"token": f"{token}x"})
        as_key = await agent.client.get(f"{RUNS}/{run_id}", headers=bearer(token))
    assert run.json()["run_id"] == run_id
    assert parse_frames(events.content) == parse_frames(whole.content)[1:]
    assert code_of(wrong) == code_of(as_key) == (401, "unauthenticated")


async def test_a_token_is_given_for_the_caller_s_own_runs() -> None:
    """Another caller's run is not found, and neither is an unknown one."""
    async with guarded_service() as agent, calling(agent, ADA) as ada, calling(agent, BOB) as bob:
        run_id = await simulated(ada)
        assert code_of(await bob.client.post(f"{RUNS}/{run_id}/token")) == (404, "run_not_found")


async def test_a_token_ends_with_its_key() -> None:
    """Once the key that asked for it is revoked, it is refused."""
    async with guarded_service() as agent:
        made = await new_key(agent)
        async with calling(agent, made.key) as caller:
            run_id = await simulated(caller)
            token = await token_of(caller, run_id)
        path = f"{RUNS}/{run_id}"
        assert (await agent.client.get(path, params={"token": token})).status_code == 200
        async with calling(agent, OPS) as ops:
            await ops.client.delete(f"{KEYS}/{made.key_id}")
        assert code_of(await agent.client.get(path, params={"token": token})) == (401, "unauthenticated")


async def test_without_authentication_a_token_changes_nothing() -> None:
    """A page works the same with and without: it gets a token, and reads with it or with any other."""
    async with service(NOWHERE) as agent:
        run_id = await simulated(agent)
        token = await token_of(agent, run_id)
        for sent in (token, "nothing"):
            assert (await agent.client.get(f"{RUNS}/{run_id}", params={"token": sent})).status_code == 200


def test_a_token_says_whose_it_is_and_when_it_ends() -> None:
    """It is valid for ten minutes, and its caller may read that one run."""
    tokens = RunTokens(SECRET)
    issued = tokens.issue(READER, "run_1")
    left = datetime.fromisoformat(issued.expires_at) - datetime.now(UTC)
    caller = tokens.caller_of(issued.token)
    assert VALID - timedelta(seconds=10) < left <= VALID == timedelta(minutes=10)
    assert caller is not None
    assert (caller.owner, caller.key_id, caller.run_id) == ("ada", "as_000000000000", "run_1")
    assert [scope.value for scope in caller.scopes] == ["runs:read"]


def test_only_a_token_of_this_service_is_one() -> None:
    """Neither an expired one, nor one without an end, for something else, of another secret or without a signature."""
    tokens = RunTokens(SECRET)
    claims = jwt.decode(tokens.issue(READER, "run_1").token, options={"verify_signature": False})
    over = claims | {"exp": datetime.now(UTC) - timedelta(seconds=1)}
    endless = {name: value for name, value in claims.items() if name != "exp"}
    key = tokens._secret
    assert tokens.caller_of(jwt.encode(claims, key, ALGORITHM)) is not None
    for forged in (
        jwt.encode(over, key, ALGORITHM),
        jwt.encode(endless, key, ALGORITHM),
        jwt.encode(claims | {"aud": "else"}, key, ALGORITHM),
        jwt.encode(claims, b"t" * 32, ALGORITHM),
        jwt.encode(claims, SECRET, ALGORITHM),
        jwt.encode(claims, "", "none"),
        RunTokens(b"t" * 32).issue(READER, "run_1").token,
        "nothing",
        "",
    ):
        assert tokens.caller_of(forged) is None


def test_a_token_in_the_query_is_not_in_the_log(nursery: Nursery) -> None:
    """The server's access log has the request without it, also of a method that ignores it and below a wrong path."""
    given = {"AUTH": "keys", "API_KEYS": API_KEYS, "DEDALUS_BASE_URL": NOWHERE, "LOG_LEVEL": "debug"}
    with (
        forked_app(nursery, **given) as app,
        httpx.Client(base_url=app.url, headers=bearer(ADA), timeout=30) as client,
    ):
        run_id = client.post(SIMULATE, json={"delay_ms": 0}).headers["x-run-id"]
        token = client.post(f"{RUNS}/{run_id}/token").json()["token"]
        for path in (f"{RUNS}/{run_id}?after=0&token={token}", f"{RUNS}/{run_id}/events?token={token}", f"/{token}"):
            client.get(path, headers={"Authorization": ""})
        client.post(f"{RUNS}/{run_id}/cancel?token={token}")
        app.says("/cancel")
    log = "".join(app.log)
    assert f'"GET {RUNS}/{run_id}?after=0 HTTP/1.1" 200' in log
    assert "/[hidden]" in log
    assert token not in log
    assert token.rpartition(".")[2] not in log
