"""Tests what Dedalus and gateways report beside an answer: deferred calls, failed MCP servers, another model."""

from decimal import Decimal
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import LocalTool, added, named
from run_readers import reading
from service import EXECUTE, checked, only, service
from wire import Done, Finish, Gate, Json, RawChunk, Step, Text, ToolCall, Usage, WaitFor

from services.agents.hosted_failures import failure_warnings
from services.completions.server_reports import MAX_DEFERRED_BYTES, ServerReports
from setting_objects import ModelPrice

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

CALL = ToolCall("call_1", "add", '{"a":1,"b":2}')
DEFERRED = {"id": "call_9", "name": "search", "arguments": {"q": 1}, "blocked_by": ["call_1"], "venue": "server"}
ASK: Json = {"input": "Why?", "model": "openai/gpt-4.1"}


def by_million(dollars: int) -> ModelPrice:
    return ModelPrice(input_per_million=Decimal(dollars), output_per_million=Decimal(dollars))


def took_over(model: str) -> RawChunk:
    return RawChunk({"choices": [], "dedalus_event": {"type": "agent_updated", "agent": "a", "model": model}})


async def test_deferred_calls_are_sent_back_until_the_server_has_none() -> None:
    """The next request has the deferred calls as they came, beside the correlation id; the one after it has none."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        state = RawChunk({"choices": [], "correlation_id": "c-1", "deferred": [DEFERRED]})
        fake.turn(CALL, state, Finish("tool_calls"), Done())
        fake.turn(ToolCall("call_2", "add", '{"a":1,"b":2}'), Finish("tool_calls"), Done())
        fake.turn(Text("3"), Finish("stop"), Done())
        await agent.stream(ASK)
    first, second, third = (request.body for request in fake.chats)
    assert "deferred_calls" not in first
    assert (second["correlation_id"], second["deferred_calls"]) == ("c-1", [DEFERRED])
    assert (third["correlation_id"], third.get("deferred_calls")) == ("c-1", None)


async def test_a_failed_server_is_reported_once() -> None:
    """A hosted MCP server that failed is a warning with its recommendation after the step, once in a run."""
    errors = {"acme/mail": {"message": "SECRET at https://x", "code": "auth", "recommendation": "Connect the account."}}
    report = RawChunk({"choices": [], "mcp_server_errors": errors})
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(CALL, report, Finish("tool_calls"), Done())
        fake.turn(Text("3"), report, Finish("stop"), Done())
        events = await agent.stream({**ASK, "mcp_servers": ["acme/mail"], "tools": ["add"]})
    message = "acme/mail could not be used. The model server reported an error. Connect the account."
    assert only(events, "warning") == [{"code": "mcp_server_unavailable", "message": message}]


UNSAFE = [
    *("See https://acme.example/login", "Set API_KEY=abc", "Read /etc/acme.conf", "Mail ops@acme.example", "C:\\x"),
    *("Use sk-proj-4f9Ab2cD8e", "Use AbCdEfGh1234567890", "Use 10.0.0.1", "<b>Now</b>", "word " * 100),
    *("\x1b[31mred", "", "a" * 25),
]


@pytest.mark.parametrize("advice", UNSAFE)
def test_only_plain_words_of_a_recommendation_are_shown(advice: str) -> None:
    """A recommendation that could have a URL, a path, an address or a key is left out, and so is an unknown name."""
    [warning] = failure_warnings({"other/server": advice}, ["acme/mail"])
    assert warning.message == "An MCP server of the request could not be used. The model server reported an error."


@pytest.mark.parametrize("advice", ["Connect your account (OAuth2), then try again.", "Bitte erneut anmelden!"])
def test_plain_words_are_shown(advice: str) -> None:
    """A recommendation in plain words of any language is shown as it came."""
    [warning] = failure_warnings({"acme/mail": advice}, ["acme/mail"])
    assert warning.message.endswith(advice)


async def test_a_model_that_takes_over_first_is_the_step_s(lend: Lend) -> None:
    """A router's choice before the first piece is in step_started and step_finished; the run keeps what was asked."""
    turn: list[Step] = [took_over("anthropic/claude-x"), Text("Hi"), Finish("stop"), Done()]
    async with lend() as (fake, agent):
        fake.always(*turn)
        events = await agent.stream(ASK)
        executed = (await agent.post(EXECUTE, ASK)).json()
    assert only(events, "run_started")[0]["model"] == "openai/gpt-4.1"
    assert [only(events, name)[0]["model"] for name in ("step_started", "step_finished")] == ["anthropic/claude-x"] * 2
    assert (executed["model"], executed["answered_by"]) == ("openai/gpt-4.1", "anthropic/claude-x")


@pytest.mark.parametrize(("model", "cost"), [("anthropic/claude", 0.3), ("unknown/model", None)])
async def test_the_model_that_took_over_is_the_one_that_is_paid(model: str, cost: float | None) -> None:
    """A turn costs what the model that answered costs, and nothing is guessed if its price isn't known."""
    prices = {"openai/gpt-4.1": by_million(1), "anthropic/claude": by_million(100)}
    async with FakeDedalus() as fake, service(fake.url, model_prices=prices) as agent:
        fake.turn(took_over(model), Text("Because."), Finish("stop", Usage(1000, 2000, 3000)), Done())
        events = await agent.stream(ASK | {"max_cost_usd": 1})
    assert [data["usage"].get("cost_usd") for data in only(events, "step_finished")] == [cost]
    assert only(events, "complete")[0]["usage"].get("cost_usd") == cost


async def test_a_model_that_takes_over_later_is_that_of_the_step_s_end(lend: Lend) -> None:
    """An event that was sent can't be changed: a later choice is in step_finished and in answered_by."""
    gate = Gate()
    turn: list[Step] = [Text("Hi"), WaitFor(gate), took_over("anthropic/claude-x"), Text("!"), Finish("stop"), Done()]
    async with lend() as (fake, agent):
        fake.always(*turn)
        async with reading(agent, **ASK) as reader:
            await reader.until(b"Hi")
            gate.open()
            events = checked(await reader.rest())
        executed = (await agent.post(EXECUTE, ASK)).json()
    models = [only(events, name)[0]["model"] for name in ("step_started", "step_finished")]
    assert models == ["openai/gpt-4.1", "anthropic/claude-x"]
    assert executed["answered_by"] == "anthropic/claude-x"


SAME = [
    ("openai/gpt-4.1", "gpt-4.1-2025-04-14"),
    ("openai/gpt-4.1", "openai/gpt-4.1"),
    ("mistral/mistral-small-latest", "mistral-small-2506"),
    ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
    ("qwen/qwen3-8b:free", "Qwen/Qwen3-8B"),
    ("xai/grok-4", "grok-4-0709"),
]
OTHER = [
    ("openrouter/auto", "openai/gpt-4.1"),
    ("openai/gpt-4.1", "gpt-4.1-mini"),
    ("openai/gpt-4.1", "openai/gpt-5"),
    ("openai/gpt-5", "anthropic/claude-opus-4-5"),
]


@pytest.mark.parametrize(
    ("asked", "reported", "is_other"), [*((*pair, False) for pair in SAME), *((*pair, True) for pair in OTHER)]
)
def test_another_spelling_is_no_other_model(asked: str, reported: str, is_other: bool) -> None:
    """A chunk's model counts if it isn't the requested one without its provider, or with its version."""
    reports = ServerReports()
    reports.begin({"model": reported})
    assert reports.model_in_place_of(asked) == (reported if (asked, reported) in OTHER else None)


ODD: list[Any] = [
    None,
    7,
    "x",
    [],
    [7, None],
    {},
    {"a": 7},
    {"type": "agent_updated"},
    {"type": "agent_updated", "model": 7},
]


@pytest.mark.parametrize("value", ODD)
def test_reports_of_other_shapes_are_left_out(value: Any) -> None:
    """No shape of a report makes the answer fail."""
    reports = ServerReports()
    chunk: Json = dict.fromkeys(("deferred", "mcp_server_errors", "dedalus_event"), value) | {"model": value}
    reports.begin(chunk)
    reports.read(chunk, False)
    assert reports.deferred_calls == []
    assert reports.routed_model is None


def test_deferred_calls_are_bounded() -> None:
    """State that is too long to be kept with the run is not sent back."""
    reports = ServerReports()
    reports.read({"deferred": [DEFERRED, {"id": "x" * MAX_DEFERRED_BYTES}]}, False)
    assert reports.deferred_calls == []
