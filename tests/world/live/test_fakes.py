"""Published fakes of OpenAI's server as upstreams, which show what their authors expect that server to send."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from foreign import aimock, mockai, openai_mock_api
from local_tools import LocalTool, named
from service import only, service, text
from wire import Json

pytestmark = pytest.mark.anyio

KEY = "sk-test"
GREETING = "Hello! Half of an emoji is no emoji: 👩‍🚀, and ünïcödé stays whole."


async def weather(arguments: Json) -> str:
    return f"rain in {arguments.get('city')}"


def tools() -> dict[str, LocalTool]:
    return named(LocalTool("get_weather", weather))


def calls(events: list[dict[str, Any]]) -> list[tuple[str, Json]]:
    return [(use["name"], use["arguments"]) for use in only(events, "tool_use")]


# ai-mock, from PyPI: no finish reason, no content type, and a call's pieces have an id but no index


@pytest.fixture(scope="module")
def mockai_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A fake that answers by the last message."""
    responses = [
        {"type": "text", "input": "hello", "output": GREETING},
        {"type": "function", "input": "weather", "output": {"name": "get_weather", "arguments": {"city": "Oslo"}}},
        {"type": "text", "input": "rain in Oslo", "output": "Take an umbrella."},
    ]
    file = tmp_path_factory.mktemp("mockai") / "responses.json"
    file.write_text(json.dumps({"responses": responses}))
    with mockai(file) as url:
        yield url


async def test_mockai_s_text_arrives_whole(mockai_url: str) -> None:
    """An answer that ends with [DONE] alone is complete."""
    async with service(mockai_url) as agent:
        events = await agent.stream({"input": "hello"})
    assert text(events) == GREETING
    assert only(events, "complete")[0]["status"] == "succeeded"


async def test_mockai_s_call_is_one_call(mockai_url: str) -> None:
    """Each of its pieces repeats the id and the name."""
    async with service(mockai_url, tools()) as agent:
        events = await agent.stream({"input": "weather"})
    assert calls(events) == [("get_weather", {"city": "Oslo"})]
    assert text(events) == "Take an umbrella."


# aimock, from npm, with its chaos


FIXTURES = [
    {"match": {"userMessage": "hello"}, "response": {"content": GREETING}},
    {"match": {"toolCallId": "call_w"}, "response": {"content": "Take an umbrella."}},
    {
        "match": {"userMessage": "weather"},
        "response": {"toolCalls": [{"id": "call_w", "name": "get_weather", "arguments": {"city": "Oslo"}}]},
    },
    {"match": {"userMessage": "think"}, "response": {"content": "42", "reasoning": "Let me see."}},
]


@pytest.fixture(scope="module")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The answers of aimock."""
    file = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    file.write_text(json.dumps({"fixtures": FIXTURES}))
    return file


@pytest.fixture(scope="module")
def aimock_url(fixtures: Path) -> Iterator[str]:
    """aimock without chaos, in pieces of three characters."""
    with aimock(fixtures, "--chunk-size", "3") as url:
        yield url


async def test_aimock_s_text_arrives_whole(aimock_url: str) -> None:
    """Pieces are small, and some cut a character into the two halves of a surrogate pair."""
    async with service(aimock_url) as agent:
        events = await agent.stream({"input": "hello"})
    assert text(events) == GREETING
    assert only(events, "complete")[0]["finish_reason"] == "stop"


async def test_aimock_s_call_is_run_and_answered(aimock_url: str) -> None:
    """A whole round succeeds: call, result, answer; the call keeps its id."""
    async with service(aimock_url, tools()) as agent:
        events = await agent.stream({"input": "weather"})
    assert calls(events) == [("get_weather", {"city": "Oslo"})]
    assert text(events) == "Take an umbrella."


async def test_aimock_s_reasoning_is_thinking(aimock_url: str) -> None:
    """The reasoning is separate from the answer."""
    async with service(aimock_url) as agent:
        events = await agent.stream({"input": "think"})
    assert (text(events, "thinking"), text(events)) == ("Let me see.", "42")


@pytest.mark.parametrize("chaos", ["drop", "malformed", "disconnect", "ratelimit"])
async def test_aimock_s_chaos_is_never_a_success(fixtures: Path, chaos: str) -> None:
    """Each way of failing fails the run, with its code."""
    with aimock(fixtures, f"--chaos-{chaos}", "1") as url:
        async with service(url) as agent:
            events = await agent.stream({"input": "hello"})
    assert only(events, "error")[0]["code"].startswith("upstream_")
    assert only(events, "complete")[0]["status"] == "failed"


# openai-mock-api, from npm

CONFIG = f"""
apiKey: {KEY}
port: 3000
responses:
  - id: greeting
    messages:
      - {{role: user, content: hello}}
      - {{role: assistant, content: "{GREETING}"}}
  - id: weather
    messages:
      - {{role: user, content: weather}}
      - role: assistant
        tool_calls:
          - {{id: call_1, type: function, function: {{name: get_weather, arguments: '{{"city": "Oslo"}}'}}}}
  - id: answer
    messages:
      - {{role: user, content: weather}}
      - {{role: assistant, matcher: any}}
      - {{role: tool, matcher: any, tool_call_id: call_1}}
      - {{role: assistant, content: Take an umbrella.}}
"""


@pytest.fixture(scope="module")
def mock_api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A fake that requires a key."""
    file = tmp_path_factory.mktemp("openai-mock-api") / "config.yaml"
    file.write_text(CONFIG)
    with openai_mock_api(file) as url:
        yield url


async def test_openai_mock_api_s_text_arrives_whole(mock_api_url: str) -> None:
    """The text arrives word by word."""
    async with service(mock_api_url, dedalus_api_key=KEY) as agent:
        events = await agent.stream({"input": "hello"})
    assert text(events) == GREETING


async def test_openai_mock_api_s_call_is_run_and_answered(mock_api_url: str) -> None:
    """A whole round succeeds."""
    async with service(mock_api_url, tools(), dedalus_api_key=KEY) as agent:
        events = await agent.stream({"input": "weather"})
    assert calls(events) == [("get_weather", {"city": "Oslo"})]
    assert text(events) == "Take an umbrella."


async def test_a_wrong_key_is_an_error_of_its_own(mock_api_url: str) -> None:
    """It isn't reported as a failed model."""
    async with service(mock_api_url, dedalus_api_key="wrong") as agent:
        events = await agent.stream({"input": "hello"})
    assert only(events, "error")[0]["code"] == "upstream_auth"
