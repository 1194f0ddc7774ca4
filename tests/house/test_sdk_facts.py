"""Tests the behaviour of the Dedalus SDK that the service depends on, so that an upgrade that changes it fails here
first.
"""

import json
from collections.abc import Container, Mapping
from typing import Any

import dedalus_labs
import httpx
import pytest
from dedalus_labs import APIStatusError, AsyncDedalus, AsyncStream, AuthenticationError, Omit
from fake_dedalus import FakeDedalus
from wire import Finish, Gate, Status, Text, WaitFor, answer

from services.upstreams.prepared_client import PreparedDedalus

pytestmark = pytest.mark.anyio

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?", "unknown": None}], "stream": True}


async def ask(client: AsyncDedalus, body: dict[str, Any] = BODY, **headers: Any) -> httpx.Response:
    response: Any = await client.post(
        "/chat/completions",
        cast_to=httpx.Response,
        body=body,
        options={"headers": headers},
        stream=True,
        stream_cls=AsyncStream[Any],
    )
    assert isinstance(response, httpx.Response)
    return response


def sdk(fake: FakeDedalus, **given: Any) -> AsyncDedalus:
    return AsyncDedalus(base_url=f"{fake.url}/v1", **({"api_key": "k"} | given))


def test_the_version_is_the_one_that_was_measured() -> None:
    """The installed version is the one that the figures are of. Read docs/architecture.md before raising it."""
    assert dedalus_labs.__version__ == "0.3.0"


async def test_post_gives_the_raw_response_while_the_upstream_is_writing() -> None:
    """With `cast_to=httpx.Response` and `stream=True`, the SDK returns before the body is read, and doesn't change
    the body.
    """
    gate = Gate()
    async with FakeDedalus() as fake, sdk(fake) as client:
        fake.turn(Text("one"), WaitFor(gate), Finish("stop"))
        response = await ask(client)
        assert not response.is_closed
        gate.open()
        assert b'"one"' in await response.aread()
        assert fake.chats[0].body == BODY
        assert fake.chats[0].path == "/v1/chat/completions"


async def test_omit_takes_a_header_out_for_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers that the SDK takes from its environment variables, Authorization included, can be omitted from a
    request.
    """
    monkeypatch.setenv("DEDALUS_X_API_KEY", "x-secret")
    monkeypatch.setenv("DEDALUS_PROVIDER_KEY", "p-secret")
    async with FakeDedalus() as fake, sdk(fake) as client:
        fake.always(*answer("ok"))
        await (await ask(client)).aread()
        left_out: dict[str, Any] = dict.fromkeys(("x-api-key", "X-Provider-Key", "Authorization"), Omit())
        await (await ask(client, **left_out)).aread()
        sent, kept = (request.headers for request in fake.chats)
    assert (sent["x-api-key"], sent["x-provider-key"], sent["authorization"]) == ("x-secret", "p-secret", "Bearer k")
    assert {"x-api-key", "x-provider-key", "authorization"}.isdisjoint(kept)


async def test_mcp_servers_are_serialised_by_post_too() -> None:
    """The hook that writes `mcp_servers` in wire form runs for `client.post`, as it does for `create`."""
    async with FakeDedalus() as fake, sdk(fake) as client:
        fake.turn(*answer("ok"))
        await (await ask(client, BODY | {"mcp_servers": ["a/b", "a/b@v2", "https://example.com/mcp"]})).aread()
        body = fake.chats[0].body
    assert body["mcp_servers"] == ["a/b", {"slug": "a/b", "version": "v2"}, "https://example.com/mcp"]


async def test_failures_are_retried_before_the_first_byte_and_then_raised_with_their_body() -> None:
    """429 and 5xx are retried twice with one idempotency key, and the error has the body and the headers."""
    again = Status(429, {"error": {"message": "slow down"}}, {"retry-after-ms": "1"})
    async with FakeDedalus() as fake, sdk(fake) as client:
        for turn in ([again], [again], answer("ok")):
            fake.turn(*turn)
        await (await ask(client)).aread()
        assert len({request.headers["idempotency-key"] for request in fake.chats}) == 1
        assert len(fake.chats) == 3
        fake.turn(Status(401, {"detail": {"connect_url": "https://x"}}))
        with pytest.raises(AuthenticationError) as caught:
            await ask(client)
    assert isinstance(caught.value, APIStatusError)
    assert (caught.value.status_code, caught.value.body) == (401, {"detail": {"connect_url": "https://x"}})


async def test_the_base_url_can_be_set_later() -> None:
    """The base URL can be changed, because the embedded model's address is known only once it is loaded."""
    async with FakeDedalus() as fake, AsyncDedalus(api_key="k", base_url="http://127.0.0.1:9") as client:
        fake.turn(*answer("ok"))
        client.base_url = f"{fake.url}/v1"
        assert (await ask(client)).status_code == 200


async def test_a_prepared_request_is_the_one_that_the_sdk_builds() -> None:
    """A request that is copied from the first has the headers of `client.post`, except for those that differ for
    each request.
    """
    body = json.dumps(BODY).encode()
    headers: dict[str, Any] = {"X-Provider": "openai", "x-api-key": Omit()}
    again = Status(503, {}, {"retry-after-ms": "1"})
    async with FakeDedalus() as fake:
        client = PreparedDedalus(
            base_url=f"{fake.url}/v1", api_key="k", x_api_key="x", default_query={"api-version": "1"}
        )
        async with client:
            for turn in (answer("1"), answer("2"), [again], answer("3"), answer("4")):
                fake.turn(*turn)
            await (await ask(client, **headers)).aread()
            for _ in range(3):
                await (await client.chat_completion({"Content-Type": "application/json", **headers}, body)).aread()
        asked, first, refused, second, third = fake.chats
    own = ("idempotency-key", "x-stainless-retry-count", "content-length")
    for request in (first, refused, second, third):
        assert (request.path, request.body) == (asked.path, asked.body)
        assert without(request.headers, own) == without(asked.headers, own)
        assert request.headers["content-length"] == str(len(body))
    assert [request.headers["x-stainless-retry-count"] for request in fake.chats] == ["0", "0", "0", "1", "0"]
    assert len({request.headers["idempotency-key"] for request in fake.chats}) == 4
    assert refused.headers["idempotency-key"] == second.headers["idempotency-key"]


def without(headers: Mapping[str, str], names: Container[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in names}
