"""Which web pages may use the service, and how the author of a refused page learns the reason."""

from typing import Any

import httpx
import pytest
from service import NOWHERE, SIMULATE, STREAM, Service, service

pytestmark = pytest.mark.anyio

LOCAL = (
    "http://localhost:3000",
    "http://localhost:3002",
    "http://127.0.0.1:3000",
    "http://localhost:5173",
    "http://[::1]:4321",
    "https://localhost:5173",
    "http://localhost",
)
FOREIGN = (
    "http://192.168.1.5:3000",
    "https://app.example",
    "http://localhost.evil.example:3000",
    "http://localhost:3000.evil.example",
    "http://evil.example#localhost:3000",
    "http://127.0.0.1.nip.io",
    "http://127.0.0.2:3000",
    "file://localhost:3000",
    "null",
)


async def preflight(agent: Service, origin: str, method: str = "POST", **more: str) -> httpx.Response:
    """The response to a browser's preflight for a POST with JSON."""
    asked = {"access-control-request-method": method, "access-control-request-headers": "content-type"}
    return await agent.client.options(STREAM, headers={"origin": origin} | asked | more)


@pytest.mark.parametrize("origin", LOCAL)
async def test_pages_of_this_machine_may_on_any_port(origin: str, agent: Service) -> None:
    """Pages on loopback are allowed on any port that a development server uses."""
    granted = await preflight(agent, origin)
    answered = await agent.post(SIMULATE, {"delay_ms": 0}, origin=origin)
    assert (granted.status_code, answered.status_code) == (200, 200)
    for response in (granted, answered):
        assert response.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize("origin", FOREIGN)
async def test_other_pages_may_not(origin: str, agent: Service) -> None:
    """Pages of the network, and origins that only look local, are refused.

    The preflight's response has the error body.
    """
    refused = await preflight(agent, origin, **{"x-request-id": "mine"})
    answered = await agent.post(SIMULATE, {"delay_ms": 0}, origin=origin)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "origin_refused"
    assert refused.json()["error"]["request_id"] == refused.headers["x-request-id"] == "mine"
    assert "CORS_ORIGINS" in refused.json()["error"]["message"]
    for response in (refused, answered):
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    "given",
    [
        {"cors_origins": "http://localhost:3000"},
        {"cors_origins": "https://app.example"},
        {"host": "0.0.0.0", "allowed_hosts": "*"},
        {"host": "192.168.1.5", "allowed_hosts": "*"},
    ],
)
async def test_only_by_default_and_on_loopback(given: dict[str, Any]) -> None:
    """If CORS_ORIGINS is set, it is the whole list, and a service for a network allows no port but those listed."""
    async with service(NOWHERE, **given) as agent:
        assert (await preflight(agent, "http://localhost:5173")).status_code == 400


async def test_each_refused_origin_is_logged_once_with_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    """The line, by preflight or not, is the setting to add.

    Null has no setting, and the service's own pages need none.
    """
    async with service(NOWHERE, cors_origins="http://localhost:3000") as agent:
        for _ in range(2):
            await preflight(agent, "https://app.example")
            await agent.client.get("/health", headers={"origin": "https://app.example"})
            await agent.client.get("/health", headers={"origin": "null"})
            await agent.client.get("/health", headers={"origin": agent.url})
            await agent.client.get("/health", headers={"origin": "http://localhost:3000"})
    messages = [record.getMessage() for record in caplog.records if record.name == "routers.middleware.cors"]
    assert len(messages) == 2
    assert messages[0].endswith("CORS_ORIGINS=http://localhost:3000,https://app.example")
    assert "serve the page over http" in messages[1]


async def test_the_log_stays_small(caplog: pytest.LogCaptureFixture) -> None:
    """A client that sends ever new and long origins causes at most a hundred short lines."""
    async with service(NOWHERE) as agent:
        for number in range(110):
            await agent.client.get("/health", headers={"origin": f"https://{number}.{'x' * 3000}"})
    messages = [record.getMessage() for record in caplog.records if record.name == "routers.middleware.cors"]
    assert len(messages) == 100
    assert max(map(len, messages)) < 1000


@pytest.mark.parametrize("method", ["PUT", "TRACE", "NONSENSE"])
async def test_a_preflight_for_another_method_is_refused_in_the_same_form(method: str, agent: Service) -> None:
    """The page is allowed, but not with this method."""
    refused = await preflight(agent, "http://localhost:3000", method)
    assert (refused.status_code, refused.json()["error"]["code"]) == (405, "method_not_allowed")
    assert refused.headers["access-control-allow-origin"] == "http://localhost:3000"
