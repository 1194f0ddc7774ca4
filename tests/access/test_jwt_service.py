"""Tests a service that accepts tokens of an issuer: its routes and streams, and what it does while the issuer hangs."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest
from callers import ME, bearer, code_of, new_key
from fake_dedalus import FakeDedalus
from forked_command import forked_command
from key_server import AUDIENCE, KeyServer, Seconds, SigningKey, claims, key_server, response
from process import Nursery, environment_of
from pydantic import ValidationError
from run_readers import reading
from service import NOWHERE, SIMULATE, Service, checked, names, service
from wire import Done, Finish, Gate, Text, WaitFor

from settings import Settings, validation_errors

pytestmark = pytest.mark.anyio

KEY, NEW = SigningKey("first"), SigningKey("second", number=1)
API_KEY = "a-key-of-the-environment"
HEALTH, RUNS = "/health", "/api/agent/runs"
BODY = {"input": "Hello", "delay_ms": 0}
DOWN = response({}, "503 Service Unavailable")


@asynccontextmanager
async def serving(issuer: KeyServer, url: str = NOWHERE, auth: str = "jwt", **given: Any) -> AsyncIterator[Service]:
    """A service that accepts the issuer's tokens."""
    settings = {"auth": auth, "jwt_issuer": issuer.issuer, "jwt_audience": (AUDIENCE,), **given}
    async with service(url, **settings) as agent:
        yield agent


async def me(agent: Service, token: str) -> httpx.Response:
    return await agent.client.get(ME, headers=bearer(token))


# Who may call


async def test_a_token_of_the_issuer_is_a_caller() -> None:
    """The token's subject is the owner, and its scopes are those of the caller. Without a token there is a 401."""
    async with key_server(KEY) as issuer, serving(issuer) as agent:
        known = (await me(agent, issuer.token(KEY, scope="openid runs:read"))).json()
        assert (known["owner"], known["scopes"]) == ("jwt:ann", ["runs:read"])
        assert (await agent.client.get(ME)).status_code == 401
        assert (await agent.client.get(ME, headers={"X-API-Key": issuer.token(KEY)})).json()["owner"] == "jwt:ann"
        assert (await agent.client.get(HEALTH)).status_code == 200


async def test_two_subjects_see_nothing_of_each_other() -> None:
    """What a token made belongs to its subject, and another one's id is like an unknown one."""
    async with key_server(KEY) as issuer, serving(issuer) as agent:
        ann, ben = (bearer(issuer.token(KEY, sub=name)) for name in ("ann", "ben"))
        made = await agent.client.post(SIMULATE, json=BODY, headers=ann)
        run = f"{RUNS}/{made.headers['x-run-id']}"
        assert (await agent.client.get(run, headers=ann)).status_code == 200
        assert (await agent.client.get(run, headers=ben)).json()["error"]["code"] == "run_not_found"
        assert (await agent.client.get(RUNS, headers=ben)).json()["runs"] == []


async def test_a_scope_that_a_token_lacks_is_a_403() -> None:
    """A token that names `runs:read` alone starts no run, and an admin is who the operator's mapping says."""
    async with key_server(KEY) as issuer, serving(issuer, jwt_scopes={"boss": ["admin"]}) as agent:
        reads, boss = issuer.token(KEY, scope="runs:read admin"), issuer.token(KEY, scope="boss")
        refused = await agent.client.post(SIMULATE, json=BODY, headers=bearer(reads))
        assert code_of(refused) == (403, "forbidden")
        assert (await agent.client.get("/api/agent/keys", headers=bearer(reads))).status_code == 403
        assert (await agent.client.get("/api/agent/keys", headers=bearer(boss))).status_code == 200


async def test_api_keys_and_tokens_go_together() -> None:
    """With AUTH=keys+jwt both are valid, and with AUTH=jwt no API key is."""
    async with key_server(KEY) as issuer:
        for auth, status in (("keys+jwt", 200), ("jwt", 401)):
            async with serving(issuer, auth=auth, api_keys=f"ops:{API_KEY}") as agent:
                assert (await me(agent, API_KEY)).status_code == status
                assert (await me(agent, issuer.token(KEY))).json()["owner"] == "jwt:ann"
                assert (await me(agent, "no-key")).status_code == 401


async def test_a_token_is_no_api_key_where_only_keys_are_accepted() -> None:
    """AUTH=keys verifies no token, also if the settings of tokens are there."""
    async with key_server(KEY) as issuer, serving(issuer, auth="keys", api_keys=f"ops:{API_KEY}") as agent:
        assert (await me(agent, issuer.token(KEY))).status_code == 401
        assert issuer.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer {evil}"), ("Authorization", "Bearer {good}")],
        [("Authorization", "Bearer {evil}"), ("X-API-Key", "{good}")],
        [("Authorization", "Bearer {evil}, Bearer {good}")],
        [("Authorization", "Bearer {good} {evil}")],
        [("Authorization", "Basic {good}")],
        [("Authorization", "{good}")],
        [("Authorization", "Bearer")],
        [("Cookie", "token={good}; __session={good}")],
    ],
)
async def test_the_first_credential_counts_and_only_in_its_form(headers: list[tuple[str, str]]) -> None:
    """A valid token behind an invalid one, or in another place, opens nothing."""
    async with key_server(KEY) as issuer, serving(issuer) as agent:
        texts = {"good": issuer.token(KEY), "evil": NEW.sign(claims(issuer.issuer))}
        sent = [(name, value.format_map(texts)) for name, value in headers]
        refused = await agent.client.get(ME, headers=sent)
        assert code_of(refused) == (401, "unauthenticated")


async def test_a_token_in_the_query_opens_nothing() -> None:
    """URLs are logged and sent on, so a token of an issuer is only read from a header."""
    async with key_server(KEY) as issuer, serving(issuer) as agent:
        token = issuer.token(KEY)
        for name in ("token", "access_token", "api_key"):
            assert (await agent.client.get(RUNS, params={name: token})).status_code == 401


async def test_a_huge_token_is_refused_at_once() -> None:
    """A token over the limit is a 401, and one that no request's head may have a 431."""
    async with key_server(KEY) as issuer, serving(issuer) as agent:
        assert (await me(agent, issuer.token(KEY, padding="x" * 30_000))).status_code == 401
        assert (await me(agent, "x" * 70_000)).status_code == 431


async def test_a_refused_stream_says_why() -> None:
    """`POST /stream` refuses in the form of a stream, with the reason, and a client is told which scheme to use."""
    async with key_server(KEY) as issuer, serving(issuer) as agent:
        headers = {**bearer(issuer.token(KEY, exp=Seconds(-60))), "Accept": "text/event-stream"}
        refused = await agent.client.post(SIMULATE, json=BODY, headers=headers)
        assert refused.status_code == 401
        assert "The token has expired." in refused.text
        assert refused.headers["www-authenticate"].startswith("Bearer")


async def test_no_token_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a valid token nor a refused one leaves a trace."""
    caplog.set_level(logging.DEBUG)
    async with key_server(KEY) as issuer, serving(issuer) as agent:
        tokens = [issuer.token(KEY), issuer.token(KEY, exp=Seconds(-60)), NEW.sign(claims(issuer.issuer), kid="x")]
        for token in tokens:
            await me(agent, token)
            await agent.client.post(SIMULATE, json=BODY, headers=bearer(token))
    shown = caplog.text
    assert [part in shown for token in tokens for part in token.split(".")[1:]] == [False] * 6


async def test_a_user_s_api_key_has_the_owner_of_the_user_s_tokens() -> None:
    """An admin creates it with that owner, and both see the same runs."""
    async with key_server(KEY) as issuer, serving(issuer, auth="keys+jwt") as agent:
        key = await new_key(agent, owner="jwt:ann")
        made = await agent.client.post(SIMULATE, json=BODY, headers=bearer(issuer.token(KEY)))
        seen = await agent.client.get(f"{RUNS}/{made.headers['x-run-id']}", headers=bearer(key.key))
        assert seen.json()["status"] == "succeeded"


async def test_an_admin_of_the_issuer_acts_for_others() -> None:
    """A role that the operator maps to admin is one, and sees with X-Act-As what the other owner sees."""
    async with key_server(KEY) as issuer, serving(issuer, jwt_scopes={"boss": ["admin"]}) as agent:
        made = await agent.client.post(SIMULATE, json=BODY, headers=bearer(issuer.token(KEY)))
        run = f"{RUNS}/{made.headers['x-run-id']}"
        for sub, scope, status in (("boss", "boss", 200), ("boss", "runs:read", 403), ("ben", "", 403)):
            acting = bearer(issuer.token(KEY, sub=sub, scope=scope)) | {"X-Act-As": "jwt:ann"}
            assert (await agent.client.get(run, headers=acting)).status_code == status


async def test_an_issuer_that_nothing_uses_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever sets JWT_ISSUER and forgets AUTH finds it in the log."""
    async with key_server(KEY) as issuer, serving(issuer, auth="keys") as agent:
        assert (await me(agent, issuer.token(KEY))).status_code == 401
    assert "JWT_ISSUER is set, but AUTH=keys accepts no tokens" in caplog.text


# While the issuer fails


async def test_a_service_starts_without_its_issuer() -> None:
    """Its tokens are a 503 that says when to try again, health is fine, and it recovers by itself."""
    async with key_server(KEY) as issuer:
        issuer.answer = DOWN
        async with serving(issuer) as agent:
            refused = await me(agent, issuer.token(KEY))
            assert code_of(refused) == (503, "issuer_unavailable")
            assert int(refused.headers["retry-after"]) > 0
            assert (await agent.client.get(HEALTH)).status_code == 200
            issuer.answer = None
            await issuer.wait_asked(1)
            while (accepted := await me(agent, issuer.token(KEY))).status_code == 503:
                continue
            assert accepted.json()["owner"] == "jwt:ann"


async def test_a_hanging_issuer_holds_up_no_stream_and_no_health_check() -> None:
    """Streams go on, known keys stay valid and health takes below 50 ms, also while unknown keys wait for a fetch."""
    gate = Gate()
    often: dict[str, Any] = {"jwt_keys_ttl_s": 0.05}
    async with FakeDedalus() as fake, key_server(KEY) as issuer, serving(issuer, fake.url, **often) as agent:
        fake.turn(Text("Hel"), WaitFor(gate), Text("lo"), Finish(), Done())
        agent.client.headers.update(bearer(issuer.token(KEY)))
        async with reading(agent) as reader:
            await reader.until(b"Hel")
            issuer.gate.is_open = False
            await issuer.gate.wait_reached(issuer.gate.reached + 1)
            unknown = [NEW.sign(claims(issuer.issuer), kid=f"{number}") for number in range(20)]
            storm = [asyncio.create_task(me(agent, token)) for token in unknown]
            health = await health_s(agent)
            assert (await agent.client.get(ME)).status_code == 200
            gate.open()
            assert names(checked(await reader.rest()))[-1] == "complete"
            assert {code_of(refused) for refused in await asyncio.gather(*storm)} == {(503, "issuer_unavailable")}
    assert health < 0.05


async def health_s(agent: Service) -> float:
    """How long a health check takes, as the median of 31: a pause of the machine is not the service's."""
    taken = []
    for _ in range(31):
        begun = time.perf_counter()
        assert (await agent.client.get(HEALTH)).status_code == 200
        taken.append(time.perf_counter() - begun)
    return median(taken)


async def test_a_stream_goes_on_when_its_token_expires() -> None:
    """A token is checked at the beginning of a request. The next request needs a new one."""
    gate = Gate()
    async with FakeDedalus() as fake, key_server(KEY) as issuer, serving(issuer, fake.url, jwt_leeway_s=0) as agent:
        fake.turn(Text("Hel"), WaitFor(gate), Text("lo"), Finish(), Done())
        agent.client.headers.update(bearer(issuer.token(KEY, exp=Seconds(2))))
        async with reading(agent) as reader:
            await reader.until(b"Hel")
            while (await agent.client.get(ME)).status_code != 401:
                continue
            gate.open()
            assert names(checked(await reader.rest()))[-1] == "complete"
            run = f"{RUNS}/{reader.run_id}"
            assert (await agent.client.get(f"{run}/events")).status_code == 401
            agent.client.headers.update(bearer(issuer.token(KEY)))
            assert (await agent.client.get(f"{run}/events")).status_code == 200


# The start


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "AUTH=jwt: tokens need JWT_ISSUER"),
        ({"jwt_issuer": "https://login.example.com"}, "AUTH=jwt: tokens need JWT_AUDIENCE"),
        ({"jwt_issuer": "login", "jwt_audience": "agent"}, "AUTH=jwt: JWT_ISSUER is not a URL"),
        ({"jwt_issuer": "login", "jwt_audience": "agent", "jwt_algorithms": "HS256"}, "AUTH=jwt: JWT_ALGORITHMS has"),
    ],
)
def test_the_service_doesn_t_start_without_what_it_verifies_tokens_by(given: dict[str, Any], message: str) -> None:
    """The message names what is missing. Without AUTH=jwt nothing is."""
    with pytest.raises(ValidationError) as refused:
        Settings(auth="jwt", **given)
    assert validation_errors(refused.value).splitlines()[1].startswith(f"  {message}")
    assert Settings(auth="off", **given).jwt_audience == Settings(**given).jwt_audience


def test_a_key_that_is_none_stops_the_start(nursery: Nursery, tmp_path: Path) -> None:
    """The log says which setting to correct, and does not show it."""
    secret = {"JWT_SECRET": "s" * 40, "JWT_ALGORITHMS": "HS512"}
    given = {"AUTH": "jwt", "JWT_ISSUER": "login", "JWT_AUDIENCE": AUDIENCE, "DATA_DIR": f"{tmp_path}", **secret}
    with forked_command(nursery, "app", env=environment_of(given), directory=tmp_path) as command:
        _, log = command.communicate()
        assert command.wait(5) != 0
    assert b"JWT_SECRET: it is not a key for HS512, or it is too short" in log
    assert b"ssss" not in log
