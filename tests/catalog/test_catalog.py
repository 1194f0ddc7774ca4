"""The lists of models and MCP servers: fetched, kept when upstream or marketplace fails, and never a whitelist."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import httpx2
import pytest
from fake_dedalus import FakeDedalus
from service import EXECUTE, NOWHERE, Service, only, service, settings, text
from wire import Status, answer, model, repository

from errors import LocalModelUnavailable, UpstreamFailed
from services.catalog.builtin import MCP_SERVERS, MODELS
from services.catalog.cached import Cached
from services.catalog.catalog import Catalog
from services.catalog.model_lists import read_model
from services.upstreams.embedded_model import MODEL_ID, EmbeddedModel
from services.upstreams.providers import Provider
from services.upstreams.selection import Upstreams

pytestmark = pytest.mark.anyio

MODELS_PATH = "/api/agent/models"
SERVERS_PATH = "/api/agent/mcp-servers"
AT_ONCE = 1e-9  # a TTL that has expired by the next call
LONG = 1000.0
JSON = {"content-type": "application/json"}


class Source:
    """The origin of a list: each fetch waits until the test sets its result, or the exception to raise."""

    def __init__(self) -> None:
        self.fetches = 0
        self.asked = asyncio.Event()
        self._answers: asyncio.Queue[list[str] | Exception] = asyncio.Queue()

    def give(self, answer: list[str] | Exception) -> None:
        self._answers.put_nowait(answer)

    async def fetch(self) -> list[str]:
        self.fetches += 1
        self.asked.set()
        answer = await self._answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


def under_way() -> list["asyncio.Task[Any]"]:
    """The fetches that are running in the background."""
    return [task for task in asyncio.all_tasks() if task.get_name() == "catalogue"]


async def refreshed() -> None:
    """Return when every fetch in the background has ended."""
    await asyncio.gather(*under_way(), return_exceptions=True)


async def listed(agent: Service, path: str = MODELS_PATH) -> dict[str, Any]:
    response = await agent.client.get(path)
    assert response.status_code == 200, response.text
    answered: dict[str, Any] = response.json()
    return answered


async def ids(agent: Service) -> list[str]:
    return [entry["id"] for entry in (await listed(agent))["models"]]


# A list that is fetched now and then


async def test_the_first_calls_wait_for_one_fetch() -> None:
    """All callers before the first result wait for it, and share one fetch."""
    source = Source()
    cached = Cached(source.fetch, ["old"], LONG)
    calls = [asyncio.create_task(cached.get()) for _ in range(5)]
    source.give(["new"])
    assert await asyncio.gather(*calls) == [(["new"], "upstream")] * 5
    assert source.fetches == 1


async def test_within_its_time_a_list_is_not_fetched_again() -> None:
    """The TTL bounds how often the upstream is called."""
    source = Source()
    cached = Cached(source.fetch, [], LONG)
    source.give(["new"])
    for _ in range(3):
        assert await cached.get() == (["new"], "upstream")
    assert source.fetches == 1


async def test_a_refresh_in_the_background_delays_no_answer() -> None:
    """During a fetch the present list is returned at once; later calls return the new one."""
    source = Source()
    cached = Cached(source.fetch, [], AT_ONCE)
    source.give(["first"])
    await cached.get()
    for _ in range(3):
        assert await cached.get() == (["first"], "upstream")
    source.give(["second"])
    await refreshed()
    assert source.fetches == 2
    assert await cached.get() == (["second"], "upstream")
    await cached.aclose()


async def test_a_list_whose_refresh_fails_is_kept_as_stale_until_one_succeeds() -> None:
    """An upstream that is down removes nothing from the list; its source says how fresh it is."""
    source = Source()
    cached = Cached(source.fetch, ["builtin"], AT_ONCE)
    source.give(["first"])
    seen = [await cached.get()]
    for result in (UpstreamFailed(), UpstreamFailed(), ["second"]):
        await cached.get()
        source.give(result)
        await refreshed()
        seen.append(await cached.get())
    await cached.aclose()
    assert seen == [(["first"], "upstream"), (["first"], "stale"), (["first"], "stale"), (["second"], "upstream")]


@pytest.mark.parametrize(
    "failure",
    [
        UpstreamFailed(),
        LocalModelUnavailable(),
        httpx2.ConnectError("refused"),
        httpx2.InvalidURL("no URL"),
        TimeoutError(),
        ValueError("no JSON"),
        TypeError("no list"),
        KeyError("data"),
        AttributeError("get"),
    ],
    ids=repr,
)
async def test_whatever_fails_at_first_leaves_the_built_in_list(failure: Exception) -> None:
    """With no result and no way to get one, the built-in list is returned, and callers don't wait for the next try."""
    source = Source()
    cached = Cached(source.fetch, ["builtin"], AT_ONCE)
    source.give(failure)
    assert await cached.get() == (["builtin"], "builtin")
    assert await cached.get() == (["builtin"], "builtin")
    source.give(["first"])
    await refreshed()
    assert await cached.get() == (["first"], "upstream")
    await cached.aclose()


async def test_a_failed_fetch_is_not_tried_again_at_once() -> None:
    """Callers can't cause a request to an upstream that is down with every request of theirs."""
    source = Source()
    cached = Cached(source.fetch, ["builtin"], LONG)
    source.give(UpstreamFailed())
    for _ in range(3):
        await cached.get()
    assert not under_way()
    assert source.fetches == 1


async def test_without_any_list_every_fetch_is_waited_for() -> None:
    """With no list to return, a late answer is better than none."""
    source = Source()
    cached = Cached(source.fetch, [], AT_ONCE)
    source.give(UpstreamFailed())
    assert await cached.get() == ([], "builtin")
    source.give(["first"])
    assert await cached.get() == (["first"], "upstream")


async def test_a_bug_in_a_fetch_is_no_end_of_the_list() -> None:
    """An unexpected exception is raised to the first caller, and the next call fetches again."""
    source = Source()
    cached = Cached(source.fetch, [], AT_ONCE)
    source.give(RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        await cached.get()
    source.give(["first"])
    assert await cached.get() == (["first"], "upstream")


async def test_a_fetch_that_takes_too_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No caller waits longer than the limit for a list."""
    monkeypatch.setattr("services.catalog.cached.FETCH_TIMEOUT_S", 0.01)
    assert await Cached(Source().fetch, ["builtin"], LONG).get() == (["builtin"], "builtin")


async def test_a_caller_that_leaves_does_not_end_the_fetch() -> None:
    """The fetch is shared, so a caller that is cancelled doesn't cancel it for the others."""
    source = Source()
    cached = Cached(source.fetch, [], LONG)
    leaving, staying = (asyncio.create_task(cached.get()) for _ in range(2))
    await source.asked.wait()
    leaving.cancel()
    source.give(["new"])
    assert await staying == (["new"], "upstream")
    assert leaving.cancelled()


async def test_closing_ends_a_fetch_under_way() -> None:
    """A server that stops doesn't wait for a list."""
    source = Source()
    cached = Cached(source.fetch, ["builtin"], AT_ONCE)
    source.give(["first"])
    await cached.get()
    await cached.get()
    await cached.aclose()
    assert not under_way()


# The models


async def test_the_models_of_dedalus_are_listed_with_what_it_says_of_them() -> None:
    """The list has names, abilities, sizes and prices, without those that Dedalus omits."""
    bare = {"id": "openai/gpt-x", "provider": "openai"}
    async with FakeDedalus() as fake, service(dedalus=f"{fake.url}/v1", dedalus_api_key="k") as agent:
        fake.models = [model("openai/gpt-4.1", "GPT-4.1"), bare]
        answered = await listed(agent)
    assert answered == {
        "source": "upstream",
        "default_model": "openai/gpt-4.1",
        "models": [
            {
                "id": "openai/gpt-4.1",
                "provider": "openai",
                "name": "GPT-4.1",
                "description": "GPT-4.1 on the fake upstream",
                "capabilities": {"text": True, "vision": True, "tools": True, "streaming": True},
                "context_tokens": 128000,
                "max_output_tokens": 16384,
                "pricing": {
                    "source": "server",
                    "input_per_million": 2.5,
                    "output_per_million": 10.0,
                    "cached_input_per_million": 1.25,
                },
            },
            bare,
        ],
    }


async def test_the_models_of_a_server_of_one_s_own_are_listed_by_the_names_it_accepts() -> None:
    """The lists of llama.cpp, Ollama and vLLM have less, in other places, and are read, too."""
    async with FakeDedalus() as fake, service(fake.url, default_model=None) as agent:
        fake.models = [
            {"id": "qwen3:0.6b", "object": "model", "created": 1, "owned_by": "library"},
            {"id": "smollm2", "object": "model", "owned_by": "llamacpp", "meta": {"n_ctx": 8192}},
        ]
        answered = await listed(agent)
    assert answered == {
        "source": "upstream",
        "default_model": "qwen3:0.6b",
        "models": [
            {"id": "qwen3:0.6b", "provider": "library"},
            {"id": "smollm2", "provider": "llamacpp", "context_tokens": 8192},
        ],
    }


async def test_a_server_that_is_not_there_is_reported() -> None:
    """/models says why there is no list, with the setting to check; /ready covers only this service."""
    async with service(NOWHERE, default_model=None) as agent:
        answered = await listed(agent)
        ready = await agent.client.get("/ready")
    assert answered == {
        "source": "builtin",
        "problem": "The model server could not be reached. Check DEDALUS_BASE_URL.",
        "models": [],
    }
    assert (ready.status_code, ready.json()["default_model"]) == (200, None)


async def test_ready_names_the_default_model_that_the_list_decides() -> None:
    """The list is fetched when the service starts; until it arrives, the default model is null."""
    async with FakeDedalus() as fake, service(fake.url, default_model=None) as agent:
        await fake.wait_for_requests(1, "/models")
        while (ready := (await agent.client.get("/ready")).json())["default_model"] is None:
            pass
    assert ready["default_model"] == "openai/gpt-4.1"


@asynccontextmanager
async def two_providers() -> AsyncIterator[tuple[FakeDedalus, FakeDedalus, Service]]:
    """The service with the keys of Google and Perplexity, and their lists."""
    async with AsyncExitStack() as stack:
        google, perplexity = [await stack.enter_async_context(FakeDedalus()) for _ in range(2)]
        table = {
            "google": Provider(google.url, ("google_api_key",), "gemini-2.5-flash"),
            "perplexity": Provider(perplexity.url, ("perplexity_api_key",), "sonar"),
        }
        google.models = [{"id": "models/gemini-2.5-flash", "owned_by": "google"}]
        perplexity.models = [{"id": "sonar"}]
        keys: dict[str, Any] = {"google_api_key": "k", "perplexity_api_key": "k"}
        yield google, perplexity, await stack.enter_async_context(service(providers=table, **keys))


async def test_the_models_of_several_providers_are_one_list_under_their_prefixes() -> None:
    """Each model has the name that a request uses for it."""
    async with two_providers() as (google, perplexity, agent):
        answered = await listed(agent)
        for fake in (google, perplexity):
            fake.always(*answer("ok"))
        for entry in answered["models"]:
            await agent.stream({"input": "?", "model": entry["id"]})
    assert answered["source"] == "upstream"
    assert [(entry["id"], entry["provider"], entry["pricing"]["source"]) for entry in answered["models"]] == [
        ("google/gemini-2.5-flash", "google", "snapshot"),
        ("perplexity/sonar", "perplexity", "snapshot"),
    ]
    assert [fake.chats[0].body["model"] for fake in (google, perplexity)] == ["gemini-2.5-flash", "sonar"]


async def test_a_provider_without_a_list_takes_nothing_from_the_others() -> None:
    """Its built-in models, at least its default one, are listed, too. The source is that of the worse list."""
    async with two_providers() as (google, perplexity, agent):
        google.models = [{"id": "models/gemini-9", "owned_by": "google"}]
        perplexity.models_failure = Status(404, {"detail": "Not Found"})
        answered = await listed(agent)
    assert answered["source"] == "builtin"
    assert [entry["id"] for entry in answered["models"]] == ["google/gemini-9", "perplexity/sonar"]


async def test_a_list_goes_from_upstream_to_stale_when_the_upstream_fails() -> None:
    """After the TTL, with the upstream down, the list is still returned and marked as older."""
    async with FakeDedalus() as fake, service(fake.url, models_ttl_s=AT_ONCE) as agent:
        sources = [(await listed(agent))["source"]]
        fake.models_failure = Status(401, "down")
        sources.append((await listed(agent))["source"])
        await refreshed()
        sources.append((await listed(agent))["source"])
        assert await ids(agent) == ["openai/gpt-4.1", "anthropic/claude-sonnet-4-5"]
        await refreshed()
    assert sources == ["upstream", "upstream", "stale"]


@pytest.mark.parametrize(
    "failure",
    [
        Status(401, {"error": {"message": "bad key"}}),
        Status(404, {"detail": "Not Found"}),
        Status(200, "<html>", {"content-type": "text/html"}),
        Status(200, "{", {"content-type": "application/json"}),
        Status(200, "[]", {"content-type": "application/json"}),
        Status(200, {"object": "list"}),
        Status(200, {"data": None}),
        Status(200, {"data": "openai/gpt-4.1"}),
        Status(200, {"data": [None, 5, {"title": "no id"}]}),
    ],
    ids=lambda status: f"{status.code} {str(status.body)[:24]}",
)
async def test_without_a_list_from_dedalus_the_built_in_one_answers(failure: Status) -> None:
    """The built-in list is returned at the first call, whatever the upstream returns in place of a list."""
    async with FakeDedalus() as fake, service(dedalus=f"{fake.url}/v1", dedalus_api_key="k") as agent:
        fake.models_failure = failure
        answered = await listed(agent)
    assert answered["source"] == "builtin"
    assert [entry["id"] for entry in answered["models"]] == list(MODELS)


async def test_a_list_is_read_whatever_its_content_type() -> None:
    """Small servers send `text/plain`, or none: the bytes decide, as for answers."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.models_failure = Status(200, '{"data": [{"id": "mine"}]}', {"content-type": "text/plain"})
        assert await ids(agent) == ["mine"]


async def test_the_built_in_list_of_a_provider_is_its_own_models() -> None:
    """A list of last resort has no model that the configured keys can't reach."""
    async with FakeDedalus() as fake:
        fake.models_failure = Status(401, "down")
        table = {"openai": Provider(fake.url, ("openai_api_key",), "gpt-4.1-mini")}
        async with service(providers=table, openai_api_key="k") as agent:
            answered = await listed(agent)
    assert answered["source"] == "builtin"
    assert answered["default_model"] == "openai/gpt-4.1-mini"
    assert {entry["provider"] for entry in answered["models"]} == {"openai"}
    assert answered["default_model"] in [entry["id"] for entry in answered["models"]]


async def test_entries_that_are_no_models_are_left_out() -> None:
    """Broken entries do not lose the list."""
    invalid: list[Any] = [None, 5, ["openai/gpt-4.1"], [], {}, {"id": None}, {"id": 5}, {"id": ""}, {"title": "no id"}]
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.models = [{"id": "first"}, *invalid, {"id": "last"}]
        answered = await listed(agent)
    assert answered["source"] == "upstream"
    assert [entry["id"] for entry in answered["models"]] == ["first", "last"]


ODD_PARTICULARS: list[dict[str, Any]] = [
    {"display_name": ["GPT"]},
    {"description": {"en": "…"}},
    {"provider": {"name": "openai"}, "owned_by": 5},
    {"capabilities": ["text", "vision"]},
    {"capabilities": {"text": "yes", "vision": {"max": 3}}},
    {"context_window": "128k"},
    {"token_limits": [128000, 16384]},
    {"token_limits": {"input": "many"}},
    {"defaults": "none"},
    {"meta": 5},
    {"pricing": "free"},
    {"pricing": {"input_per_million": "cheap"}},
    {"pricing": {"prompt": "0.000002"}},
]


async def test_a_model_with_odd_particulars_is_still_a_model() -> None:
    """Details of a model that can't be read are left out; only its name is required."""
    names = [f"openai/gpt-{number}" for number in range(len(ODD_PARTICULARS))]
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.models = [{"id": name, **details} for name, details in zip(names, ODD_PARTICULARS, strict=True)]
        entries = (await listed(agent))["models"]
    assert entries == [{"id": name, "provider": "openai"} for name in names]


class NoModel(EmbeddedModel):
    """An embedded model that is not installed."""

    async def url(self) -> str:
        raise LocalModelUnavailable


async def test_the_embedded_model_is_listed_also_where_it_is_not_installed() -> None:
    """Nothing configured and nothing installed is no reason to refuse the list."""
    async with aclosing(Upstreams(settings(), NoModel())) as upstreams:
        lists = Catalog(upstreams, LONG, "", {})
        for _ in range(2):
            answered = await lists.models()
            assert (answered.source, [entry.id for entry in answered.models]) == ("builtin", [MODEL_ID])
        await lists.aclose()


# Lists of other shapes, and the default model


@pytest.mark.parametrize(
    "body",
    [
        [{"id": "a"}, {"id": "b"}],
        ["a", "b"],
        {"models": [{"id": "a"}, {"id": "b"}]},
        {"models": [{"name": "a", "model": "a", "size": 1}, {"name": "b", "model": "b"}]},
        {"models": [{"name": "models/a", "displayName": "A"}, {"name": "models/b"}]},
        {"models": ["a", "b"]},
        {"data": ["a", "b"]},
        {"data": [{"name": "a"}, {"model": "b"}]},
        {"success": True, "result": [{"name": "a"}, {"name": "b"}]},
        {"object": "list", "data": [{"id": "a"}, {"id": "b"}], "models": [{"name": "other"}]},
    ],
    ids=str,
)
async def test_a_list_is_read_in_any_of_its_forms(body: Any) -> None:
    """The forms of OpenAI, Ollama, Gemini and llama.cpp (two in one), and a bare list, are read."""
    async with FakeDedalus() as fake, service(fake.url, default_model=None) as agent:
        fake.models_failure = Status(200, json.dumps(body), {"content-type": "application/json"})
        fake.always(*answer("ok"))
        assert await ids(agent) == ["a", "b"]
        [started] = only(await agent.stream({"input": "?"}), "run_started")
    assert started == {"model": "a"}


@pytest.mark.parametrize(
    "entry",
    [
        '{"id": "caf\\ud83d"}',
        '{"id": "caf\\ud83d", "display_name": "\\udc00", "description": "\\ud83d"}',
        '{"id": "caf\\ud83d", "owned_by": "\\ud83d"}',
        '{"id": "caf\\ud83d", "capabilities": {"\\ud83d": true}}',
    ],
)
async def test_half_a_surrogate_pair_in_a_list_is_mended(entry: str) -> None:
    """No upstream can turn the list into a 500."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.models_failure = Status(200, f'{{"data": [{entry}, {{"id": "b"}}]}}', {"content-type": "application/json"})
        assert await ids(agent) == ["caf\ufffd", "b"]


async def test_half_a_surrogate_pair_in_the_marketplace_is_mended() -> None:
    """The marketplace can't turn the list of MCP servers into a 500 either."""
    async with marketplace() as (fake, agent):
        body = '{"repositories": [{"slug": "a/b", "title": "caf\\ud83d", "description": "\\ud83d"}]}'
        fake.marketplace_failure = Status(200, body, {"content-type": "application/json"})
        [server] = (await listed(agent, SERVERS_PATH))["servers"]
    assert (server["name"], server["description"]) == ("caf\ufffd", "\ufffd")


NOT_CHATTING: list[dict[str, Any]] = [
    {"id": "text-embedding-3-small"},
    {"id": "text-embedding-nomic-embed-text-v1.5"},
    {"id": "nomic-embed-text:latest"},
    {"id": "BAAI/bge-m3"},
    {"id": "whisper-1"},
    {"id": "hexgrad/Kokoro-82M"},
    {"id": "xtts-v2"},
    {"id": "cosyvoice2"},
    {"id": "tts-1-hd"},
    {"id": "dall-e-3"},
    {"id": "gpt-image-1"},
    {"id": "omni-moderation-latest"},
    {"id": "jina-reranker-v2"},
    {"id": "e5-large", "type": "embeddings"},
    {"id": "some/model", "type": "rerank"},
    {"id": "mistral-x", "capabilities": {"completion_chat": False}},
    {"id": "some/painter", "architecture": {"output_modalities": ["image"]}},
]


async def test_what_does_not_chat_is_no_default_model() -> None:
    """The default is the first model that chats, by the list's details or by its name."""
    async with FakeDedalus() as fake, service(fake.url, default_model=None) as agent:
        fake.models = [*NOT_CHATTING, {"id": "qwen3:0.6b"}]
        fake.always(*answer("ok"))
        [started] = only(await agent.stream({"input": "?"}), "run_started")
    assert started == {"model": "qwen3:0.6b"}


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "claude-sonnet-4-5", "gemma3:4b", "deepseek-chat", "o3", "llama-3.3-70b-versatile", "clippy-7b"],
)
async def test_a_model_that_chats_is_not_taken_for_another_kind(model: str) -> None:
    """No part of a usual name is mistaken for an embedding, a voice or an image model."""
    assert read_model({"id": model}, "", None).chats


@pytest.mark.parametrize(
    ("failure", "code", "named"),
    [
        (Status(401, {"error": {"message": "bad key"}}), "upstream_auth", ["DEDALUS_API_KEY"]),
        (Status(403, "forbidden"), "upstream_auth", ["DEDALUS_API_KEY"]),
        (Status(404, {"detail": "Not Found"}), "upstream_failed", ["DEDALUS_BASE_URL", "DEFAULT_MODEL"]),
        (
            Status(200, "<html>", {"content-type": "text/html"}),
            "upstream_failed",
            ["DEDALUS_BASE_URL", "DEFAULT_MODEL"],
        ),
        (Status(200, {"ok": True}), "upstream_failed", ["DEDALUS_BASE_URL", "DEFAULT_MODEL"]),
        (Status(200, "[" * 100_000, JSON), "upstream_failed", ["DEDALUS_BASE_URL", "DEFAULT_MODEL"]),
        (Status(200, {"data": [{"nick": "?"}]}), "upstream_failed", ["DEDALUS_BASE_URL", "DEFAULT_MODEL"]),
        (Status(200, {"data": [{"id": "whisper-1"}]}), "model_unavailable", ["DEFAULT_MODEL"]),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_without_a_default_model_the_error_names_the_setting(
    failure: Status, code: str, named: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The log names it, too; a request that names its model is served."""
    async with FakeDedalus() as fake, service(fake.url, default_model=None) as agent:
        fake.models_failure = failure
        fake.always(*answer("ok"))
        refused = await agent.post(EXECUTE, {"input": "?"})
        assert text(await agent.stream({"input": "?", "model": "m"})) == "ok"
    error = refused.json()["error"]
    assert error["code"] == code
    assert [name for name in named if name not in error["message"]] == []
    assert code == "model_unavailable" or [name for name in named if name not in caplog.text] == []


async def test_a_server_that_can_t_be_reached_names_the_setting() -> None:
    """If nothing listens at DEDALUS_BASE_URL, the error names it."""
    async with service(NOWHERE, default_model=None) as agent:
        refused = await agent.post(EXECUTE, {"input": "?"})
    assert refused.json()["error"]["code"] == "upstream_failed"
    assert "DEDALUS_BASE_URL" in refused.json()["error"]["message"]


# The MCP servers


@asynccontextmanager
async def marketplace(**given: Any) -> AsyncIterator[tuple[FakeDedalus, Service]]:
    """The service with a marketplace of its own, and the fake server behind it."""
    async with FakeDedalus() as fake, service(marketplace_url=f"{fake.url}/api/marketplace", **given) as agent:
        yield fake, agent


KEYS = {"dedalus_api_key": "secret", "openai_api_key": "secret"}
OURS = {
    "docs": {"url": "https://mcp.deepwiki.com/mcp", "description": "Our documents."},
    "plain": {"url": "https://mcp.example.com"},
}


async def test_mcp_servers_are_the_operator_s_own_and_then_the_marketplace_s() -> None:
    """Each has its value for `mcp_servers`; those that aren't public are left out; no key is sent."""
    oauth = repository("windsor/gmail-mcp", 9) | {"title": "Gmail", "tags": {"auth": {"none": False, "oauth": True}}}
    hidden = repository("acme/hidden", 1) | {"visibility": "private"}
    bare = {"slug": "acme/bare"}
    async with marketplace(mcp_servers=OURS, **KEYS) as (fake, agent):
        fake.marketplace = [repository("tsion/exa", 3), hidden, oauth, bare]
        answered = await listed(agent, SERVERS_PATH)
        [request] = fake.requests
    assert "secret" not in str(request.headers)
    assert answered == {
        "source": "upstream",
        "servers": [
            {
                "server": "https://mcp.deepwiki.com/mcp",
                "name": "docs",
                "description": "Our documents.",
                "configured": True,
            },
            {"server": "https://mcp.example.com/", "name": "plain", "configured": True},
            {
                "server": "tsion/exa",
                "name": "tsion/exa",
                "description": "tsion/exa on the fake marketplace",
                "tool_count": 3,
                "needs_authorization": False,
                "configured": False,
            },
            {
                "server": "windsor/gmail-mcp",
                "name": "Gmail",
                "description": "windsor/gmail-mcp on the fake marketplace",
                "tool_count": 9,
                "needs_authorization": True,
                "configured": False,
            },
            {"server": "acme/bare", "name": "acme/bare", "configured": False},
        ],
    }


async def test_a_marketplace_that_moved_is_followed() -> None:
    """The public marketplace has two addresses, and one redirects to the other."""
    async with FakeDedalus() as moved, marketplace() as (fake, agent):
        fake.marketplace_failure = Status(308, "", {"location": f"{moved.url}/api/marketplace"})
        answered = await listed(agent, SERVERS_PATH)
    assert answered["source"] == "upstream"
    assert [entry["server"] for entry in answered["servers"]] == ["tsion/exa", "joerup/open-meteo-mcp"]


def own_then_builtin(answered: dict[str, Any]) -> bool:
    servers = [entry["server"] for entry in answered["servers"] if not entry["configured"]]
    return answered["source"] == "builtin" and servers == [server["server"] for server in MCP_SERVERS]


async def test_while_the_marketplace_fails_the_built_in_servers_stand_in(caplog: pytest.LogCaptureFixture) -> None:
    """The operator's own servers remain, and the log says what is wrong."""
    async with marketplace(mcp_servers=OURS) as (fake, agent):
        fake.marketplace_failure = Status(503, "down")
        answered = await listed(agent, SERVERS_PATH)
    assert own_then_builtin(answered)
    assert [entry["name"] for entry in answered["servers"][:2]] == list(OURS)
    assert "could not be fetched" in caplog.text


async def test_a_marketplace_that_is_turned_off_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """MARKETPLACE_URL= leaves the operator's and the built-in servers, without a warning."""
    async with service("http://127.0.0.1:9", mcp_servers=OURS, marketplace_url="") as agent:
        answered = await listed(agent, SERVERS_PATH)
    assert own_then_builtin(answered)
    assert not caplog.records


@pytest.mark.parametrize(
    "failure",
    [
        Status(200, "<html>", {"content-type": "text/html"}),
        Status(200, "[]", {"content-type": "application/json"}),
        Status(200, {"repositories": None}),
        Status(200, {"repositories": [None, {"slug": "no slug at all"}]}),
        Status(308, "", {"location": "/api/marketplace"}),
        Status(308, "", {"location": "ftp://example.com"}),
    ],
    ids=lambda status: f"{status.code} {str(status.body)[:32]} {status.headers.get('location', '')}",
)
async def test_a_marketplace_that_answers_something_else_has_failed(failure: Status) -> None:
    """A page, another shape, a list without usable names, or an unreachable address counts as a failure."""
    async with marketplace() as (fake, agent):
        fake.marketplace_failure = failure
        answered = await listed(agent, SERVERS_PATH)
    assert answered["source"] == "builtin"


ODD_REPOSITORIES: list[Any] = [
    None,
    "tsion/exa",
    {},
    {"slug": None},
    {"slug": "two words"},
    {"slug": "acme/odd", "tool_count": "some"},
    {"slug": "acme/odd", "tags": ["featured"]},
    {"slug": "acme/odd", "tags": {"auth": "none"}},
    {"slug": "acme/odd", "title": {"en": "Odd"}},
]


async def test_an_odd_entry_of_the_marketplace_loses_only_itself() -> None:
    """Broken entries do not lose the list."""
    async with marketplace() as (fake, agent):
        fake.marketplace = [repository("tsion/exa", 3), *ODD_REPOSITORIES, repository("joerup/open-meteo-mcp", 2)]
        answered = await listed(agent, SERVERS_PATH)
    assert answered["source"] == "upstream"
    assert [entry["server"] for entry in answered["servers"]] == ["tsion/exa", "joerup/open-meteo-mcp"]


async def test_neither_list_is_a_whitelist() -> None:
    """Names change: a request may use a model or an MCP server that no list has."""
    async with FakeDedalus() as fake, service(fake.url, mcp_servers=OURS) as agent:
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?", "model": "new/model", "mcp_servers": ["brand-new/mcp"]})
        assert "new/model" not in await ids(agent)
        assert "brand-new/mcp" not in str(await listed(agent, SERVERS_PATH))
    assert text(events) == "ok"
    assert only(events, "run_started") == [{"model": "new/model"}]
