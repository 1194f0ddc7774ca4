"""POST /stream/simulate takes the requests of POST /stream: a front end switches between them by the URL alone."""

from typing import Any

import pytest
from service import NOWHERE, SIMULATE, STREAM, Service, names, only, service, text

from models import AgentRequest, SimulateRequest

pytestmark = pytest.mark.anyio

FIRST = {"input": "Test", "model": "openai/gpt-4.1"}
WHOLE: dict[str, Any] = {
    "input": [{"type": "text", "text": "What is it?"}, {"type": "image", "url": "https://example.com/a.png"}],
    "model": "openai/gpt-4.1",
    "tools": ["current_time"],
    "client_tools": [{"name": "where", "description": "Where the page is.", "parameters": {"type": "object"}}],
    "mcp_servers": ["joerup/exa-mcp", "https://mcp.deepwiki.com/mcp"],
    "require_approval": ["current_time"],
    "instructions": "Be brief.",
    "messages": None,
    "max_steps": 5,
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 10,
    "reasoning_effort": "low",
    "stop": ["END"],
    "seed": 7,
    "response_format": {"type": "json_object"},
    "metadata": {"user": "u1"},
    "on_disconnect": "continue",
    "session_id": "chat-1",
    "parent_run_id": "run_1",
    "parent_state": "before",
    "multitask": "enqueue",
}


async def test_the_first_curl_plays_the_default_script() -> None:
    """`{"input": "Test", "model": "openai/gpt-4.1"}`, which names a model that nothing serves."""
    async with service(NOWHERE) as agent:
        events = await agent.stream(FIRST | {"delay_ms": 0}, SIMULATE)
    assert text(events).endswith("You asked: Test. It is 3 °C in Oslo, with light snow. ❄️")
    assert only(events, "run_started") == [{"model": "simulated/scripted"}]


@pytest.mark.parametrize(
    "more",
    [
        {"session_id": None, "parent_run_id": None, "multitask": None, "messages": [{"role": "user", "content": "Hi"}]},
        {},
    ],
)
async def test_every_field_of_a_request_is_taken(more: dict[str, Any]) -> None:
    """All fields of POST /stream at once: the script plays as it does without them."""
    assert set(WHOLE) == set(AgentRequest.model_fields)
    async with service(NOWHERE) as agent:
        whole = await agent.stream(WHOLE | more | {"delay_ms": 0}, SIMULATE)
        bare = await agent.stream({"input": "What is it?", "delay_ms": 0}, SIMULATE)
    assert names(whole) == names(bare)
    assert only(whole, "final_output") == only(bare, "final_output")


def test_the_script_s_own_fields_are_two() -> None:
    """Fields that POST /stream/simulate accepts beyond those of POST /stream."""
    assert set(SimulateRequest.model_fields) - set(AgentRequest.model_fields) == {"scenario", "delay_ms"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": ""},
        {"input": []},
        {"model": ""},
        {"model": 5},
        {"modle": "openai/gpt-4.1"},
        {"temperature": 3},
        {"max_steps": 0},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"session_id": "chat 1"},
        {"session_id": "chat-1", "messages": [{"role": "user", "content": "x"}]},
        {"multitask": "enqueue"},
        {"tools": ["a", "a"]},
        {"metadata": {"a": 1}},
        {"on_disconnect": "never"},
    ],
)
async def test_what_stream_refuses_simulate_refuses(wrong: dict[str, Any], agent: Service) -> None:
    """A field that is not valid has the same details on both routes: a mistake shows before there is a key."""
    refusals = [await agent.post(path, {"input": "Test"} | wrong) for path in (STREAM, SIMULATE)]
    assert [refused.status_code for refused in refusals] == [422, 422]
    real, simulated = [refused.json()["error"]["details"] for refused in refusals]
    assert real == simulated


@pytest.mark.parametrize(
    ("question", "repeated"),
    [
        ("Test", "Test."),
        ("Is it cold? ", "Is it cold?"),
        ("寒いですか。", "寒いですか。"),
        ([{"type": "image", "url": "https://example.com/a.png"}], "an image."),
    ],
)
async def test_the_repeated_question_is_a_sentence(question: Any, repeated: str, agent: Service) -> None:
    """It ends with a full stop unless it has a sign of its own."""
    events = await agent.stream({"input": question, "delay_ms": 0}, SIMULATE)
    assert f"You asked: {repeated} It is" in text(events)


async def test_a_long_question_is_cut_in_the_answer() -> None:
    """The script repeats 2,000 characters of a question, which may have as many as POST /stream takes."""
    async with service(NOWHERE) as agent:
        events = await agent.stream({"input": "x" * 100_000, "delay_ms": 0}, SIMULATE)
    assert f"You asked: {'x' * 2000}… It is" in text(events)


@pytest.mark.parametrize("scenario", ["approval", "client_tool"])
async def test_a_script_resumes_after_its_wait(scenario: str) -> None:
    """The stored request of a run that waits is enough to play the rest, whatever other fields it had."""
    async with service(NOWHERE, approval_timeout_s=0.01) as agent:
        events = await agent.stream(FIRST | {"scenario": scenario, "delay_ms": 0}, SIMULATE)
    assert only(events, "complete")[0]["status"] == "succeeded"
