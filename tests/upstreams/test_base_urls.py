"""DEDALUS_BASE_URL in the forms that people paste: each one leads to the API that it was meant for."""

from contextlib import aclosing
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from service import service, settings, text
from wire import Status, answer

from services.upstreams.base_urls import address
from services.upstreams.embedded_model import EmbeddedModel
from services.upstreams.selection import Upstreams

AZURE = "https://x.openai.azure.com"
GEMINI = "https://generativelanguage.googleapis.com"
CLASSIC = "/openai/deployments/gpt-4o"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://localhost:11434", "http://localhost:11434/v1"),
        ("http://localhost:11434/", "http://localhost:11434/v1"),
        ("http://h/v1/", "http://h/v1"),
        ("http://h/v1/v1", "http://h/v1"),
        ("http://h/V1", "http://h/v1"),
        ("http://h/V1/Chat/Completions", "http://h/v1"),
        ("http://h/Vendor/v1", "http://h/Vendor/v1"),
        ("http://h//v1//", "http://h/v1"),
        ("http://h/v1/v10", "http://h/v1/v10"),
        ("http://h/gateway", "http://h/gateway/v1"),
        ("http://h:1234/api/v1", "http://h:1234/api/v1"),
        # an endpoint in place of its API, which then needs no version
        ("http://h/v1/chat/completions", "http://h/v1"),
        ("http://h/v1/chat/completions/", "http://h/v1"),
        ("http://h/v1/models", "http://h/v1"),
        ("http://h/v1/completions", "http://h/v1"),
        ("http://h/v1/responses", "http://h/v1"),
        ("http://h/v1/messages", "http://h/v1"),
        ("http://h/v1/chat", "http://h/v1"),
        ("http://h/api/chat/completions", "http://h/api"),
        ("https://models.github.ai/inference/chat/completions", "https://models.github.ai/inference"),
        ("http://h/chat", "http://h/chat/v1"),
        # providers, whose paths are known
        ("https://api.groq.com", "https://api.groq.com/openai/v1"),
        ("https://api.groq.com/openai/v1/", "https://api.groq.com/openai/v1"),
        ("https://openrouter.ai", "https://openrouter.ai/api/v1"),
        ("https://openrouter.ai/api/", "https://openrouter.ai/api/v1"),
        ("https://api.perplexity.ai", "https://api.perplexity.ai"),
        (GEMINI, f"{GEMINI}/v1beta/openai"),
        (f"{GEMINI}/v1beta", f"{GEMINI}/v1beta/openai"),
        (f"{GEMINI}/v1beta/openai/", f"{GEMINI}/v1beta/openai"),
        # Azure
        (AZURE, f"{AZURE}/openai/v1"),
        (f"{AZURE}/openai/", f"{AZURE}/openai/v1"),
        (f"{AZURE}/openai/v1/?api-version=preview", f"{AZURE}/openai/v1"),
        (f"{AZURE}{CLASSIC}?api-version=2024-10-21", f"{AZURE}{CLASSIC}"),
        (f"{AZURE}{CLASSIC}/chat/completions?api-version=2024-10-21", f"{AZURE}{CLASSIC}"),
        (
            "https://x.services.ai.azure.com/models?api-version=2024-05-01-preview",
            "https://x.services.ai.azure.com/models",
        ),
    ],
)
def test_a_base_url_means_the_api_that_it_is_part_of(given: str, meant: str) -> None:
    """The API's address is derived from a URL with or without a version, an endpoint or slashes."""
    assert address(given).url == meant


@pytest.mark.parametrize(
    ("given", "query", "deployment", "azure"),
    [
        ("http://h/v1", {}, None, False),
        ("http://h/v1?tenant=a%20b&x=1", {"tenant": "a b", "x": "1"}, None, False),
        (f"{AZURE}/openai/v1", {}, None, True),
        (f"{AZURE}{CLASSIC}?api-version=2024-10-21", {"api-version": "2024-10-21"}, "gpt-4o", True),
        (f"https://apim.example.com/team{CLASSIC}?api-version=1", {"api-version": "1"}, "gpt-4o", True),
        (f"http://h{CLASSIC}", {}, "gpt-4o", True),
    ],
)
def test_a_query_and_a_deployment_are_found(given: str, query: Any, deployment: str | None, azure: bool) -> None:
    """A classic Azure URL is recognised by its host, its path or its query, also behind a gateway."""
    found = address(given)
    assert (dict(found.query), found.deployment, found.azure) == (query, deployment, azure)


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["", "/chat/completions"])
async def test_a_classic_azure_url_is_all_that_it_takes(end: str) -> None:
    """The URL's query is sent with each request, the key only in api-key, and its deployment is the default model."""
    async with FakeDedalus() as fake:
        fake.always(*answer("ok"))
        base = f"{fake.url}{CLASSIC}{end}?api-version=2024-10-21"
        async with service(base, default_model=None, dedalus_api_key="k") as agent:
            assert text(await agent.stream({"input": "?"})) == "ok"
            listed = (await agent.client.get("/api/agent/models")).json()
    [chat] = [request for request in fake.requests if request.method == "POST"]
    assert chat.path == f"{CLASSIC}/chat/completions?api-version=2024-10-21"
    assert (chat.headers["api-key"], chat.headers.get("authorization")) == ("k", None)
    assert chat.body["model"] == listed["default_model"] == "gpt-4o"


@pytest.mark.anyio
async def test_a_query_of_one_s_own_goes_with_each_request() -> None:
    """A query in DEDALUS_BASE_URL is sent with each request; the key stays in its usual header."""
    async with FakeDedalus() as fake, service(f"{fake.url}/v1?tenant=a", dedalus_api_key="k") as agent:
        fake.always(*answer("ok"))
        await agent.stream({"input": "?"})
        await agent.client.get("/api/agent/models")
    assert {request.path for request in fake.requests} == {"/v1/chat/completions?tenant=a", "/v1/models?tenant=a"}
    assert [request.headers["authorization"] for request in fake.requests] == ["Bearer k"] * 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("base", "hosts"),
    [
        ("https://openrouter.ai/api/v1", False),
        ("https://api.mistral.ai", False),
        ("http://127.0.0.1:9/openai/deployments/gpt-4o?api-version=1", False),
        ("http://127.0.0.1:9", True),
    ],
)
async def test_a_provider_s_own_address_hosts_no_mcp_servers(base: str, hosts: bool) -> None:
    """DEDALUS_BASE_URL_HOSTS_MCP applies to gateways to Dedalus; otherwise this service calls the MCP servers."""
    async with aclosing(Upstreams(settings(dedalus_base_url=base), EmbeddedModel())) as made:
        assert made.all[0].hosts_mcp is hosts


PAGE = "<!doctype html>\n<html><title>My app</title></html>"


@pytest.mark.parametrize(
    ("status", "body", "is_named"),
    [
        (200, PAGE, True),
        (302, PAGE, True),
        (403, PAGE, True),
        (404, PAGE, True),
        (501, PAGE, True),
        (501, "Unsupported method", True),
        (404, {"error": {"message": "The model m does not exist"}}, False),
        (429, PAGE, False),
        (502, PAGE, False),
    ],
)
@pytest.mark.anyio
async def test_a_web_page_at_the_base_url(
    status: int, body: Any, is_named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """When the address returns a web page, the error names DEDALUS_BASE_URL and the page is not logged."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.always(Status(status, body, {"Retry-After": "1000"}))
        failed = await agent.post("/api/agent/execute", {"input": "Hi"})
    assert ("DEDALUS_BASE_URL" in failed.json()["error"]["message"]) is is_named
    assert status == 200 or "<html>" not in caplog.text
