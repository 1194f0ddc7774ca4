"""POST /stream/simulate takes the requests of POST /stream: a front end switches between them by the URL alone."""

from pathlib import Path
from typing import Any

import pytest
from grammar import parse_frames
from run_readers import reading
from service import NOWHERE, SIMULATE, STREAM, Service, names, only, service, text
from session_calls import RUNS, SESSIONS, get, messages, refusal
from waiting_runs import decide, waiting_run, whole

from models import AgentRequest, SimulateRequest

pytestmark = pytest.mark.anyio

FIRST = {"input": "Test", "model": "openai/gpt-4.1"}
WHOLE: dict[str, Any] = {
    "input": [{"type": "text", "text": "What is it?"}, {"type": "image", "url": "https://example.com/a.png"}],
    "model": "openai/gpt-4.1",
    "fallback_models": ["openai/gpt-4.1-mini"],
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
    "response_format": None,
    "output_schema": {"type": "object"},
    "thinking_budget": None,
    "verbosity": "low",
    "service_tier": "flex",
    "prompt_cache_retention": "24h",
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "top_k": 40,
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "web_search": True,
    "max_turns": 3,
    "provider_options": {"logit_bias": {}},
    "max_cost_usd": 0.5,
    "max_total_tokens": 9000,
    "metadata": {"user": "u1"},
    "on_disconnect": "continue",
    "session_id": "chat-1",
    "parent_run_id": "run_1",
    "parent_state": "before",
    "multitask": "enqueue",
}


async def test_the_first_curl_plays_the_default_script(agent: Service) -> None:
    """`{"input": "Test", "model": "openai/gpt-4.1"}`, which names a model that nothing serves."""
    events = await agent.stream(FIRST | {"delay_ms": 0}, SIMULATE)
    assert text(events).endswith("You asked: Test. It is 3 °C in Oslo, with light snow. ❄️")
    assert only(events, "run_started") == [{"model": "simulated/scripted"}]


@pytest.mark.parametrize(
    "more",
    [
        {"session_id": None, "parent_run_id": None, "multitask": None, "messages": [{"role": "user", "content": "Hi"}]},
        {"parent_run_id": None},
    ],
)
async def test_every_field_of_a_request_is_taken(more: dict[str, Any], agent: Service) -> None:
    """All fields of POST /stream at once: the script plays as it does without them."""
    assert set(WHOLE) == set(AgentRequest.model_fields)
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


async def test_a_long_question_is_cut_in_the_answer(agent: Service) -> None:
    """The script repeats 2,000 characters of a question, which may have as many as POST /stream takes."""
    events = await agent.stream({"input": "x" * 100_000, "delay_ms": 0}, SIMULATE)
    assert f"You asked: {'x' * 2000}… It is" in text(events)


@pytest.mark.parametrize("scenario", ["approval", "client_tool"])
async def test_a_script_resumes_after_its_wait(scenario: str) -> None:
    """The stored request of a run that waits is enough to play the rest, whatever other fields it had."""
    async with service(NOWHERE, approval_timeout_s=0.01) as agent:
        events = await agent.stream(FIRST | {"scenario": scenario, "delay_ms": 0}, SIMULATE)
    assert only(events, "complete")[0]["status"] == "succeeded"


@pytest.mark.parametrize(
    ("decision", "end"), [({"max_total_tokens": 200}, "succeeded"), ({"approved": False}, "failed")]
)
async def test_the_script_of_a_budget(decision: dict[str, Any], end: str, agent: Service) -> None:
    """It waits with the tokens of its first step, and goes on or fails as a real run does."""
    async with waiting_run(agent, SIMULATE, scenario="budget", delay_ms=0) as run_id:
        [budget] = (await get(agent, f"{RUNS}/{run_id}"))["pending"]
        response = await agent.post(f"{RUNS}/{run_id}/budget", decision)
    events = await whole(agent, run_id)
    assert (budget["spent_tokens"], budget["max_total_tokens"]) == (64, 80)
    assert response.status_code == 202
    assert only(events, "step_finished")[0]["usage"]["total_tokens"] == 64
    assert only(events, "complete")[0]["status"] == end
    assert [error["code"] for error in only(events, "error")] == ["budget_exceeded"] * (end == "failed")


async def test_a_session_keeps_a_script_s_answer(tmp_path: Path) -> None:
    """A scripted run is a run of its session: its question and answer are stored, also after a restart."""
    script = {"input": "Cold?", "session_id": "chat", "metadata": {"user": "u1"}, "delay_ms": 0}
    async with service(NOWHERE, data_dir=tmp_path) as agent:
        first = await agent.stream(script, SIMULATE)
        second = await agent.stream(script | {"input": "Warm?", "parent_state": "after"}, SIMULATE)
    async with service(NOWHERE, data_dir=tmp_path) as agent:
        kept = await messages(agent)
        runs = (await get(agent, f"{SESSIONS}/chat/runs"))["runs"]
    expected = ["Cold?", text(first), "Warm?", text(second)]
    assert [message["content"] for message in kept if message["content"] and message["role"] != "tool"] == expected
    assert kept[1]["tool_calls"][0]["name"] == "get_weather"
    assert [run["run_id"] for run in runs] == [second[0]["run_id"], first[0]["run_id"]]
    assert runs[0]["parent_run_id"] == first[0]["run_id"]
    assert runs[0]["metadata"] == {"user": "u1"}


async def test_a_repeated_script_is_one_run(agent: Service) -> None:
    """The same key is the same run, and with another body, or on another route, it is refused."""
    key = {"Idempotency-Key": "k-script"}
    script = {"input": "Cold?", "delay_ms": 0}
    first, again = [await agent.post(SIMULATE, script, **key) for _ in range(2)]
    others = [
        await agent.post(SIMULATE, script | {"delay_ms": 1}, **key),
        await agent.post(STREAM, {"input": "Cold?"}, **key),
    ]
    assert again.headers["x-run-id"] == first.headers["x-run-id"]
    assert parse_frames(again.content) == parse_frames(first.content)
    assert [refusal(other) for other in others] == [(422, "idempotency_key_reused")] * 2


async def test_a_queued_script_survives_a_restart(tmp_path: Path) -> None:
    """A script that is queued behind a wait is played by the next process, once the wait is over."""
    script = {"session_id": "chat", "multitask": "enqueue", "on_disconnect": "continue", "delay_ms": 0}
    async with service(NOWHERE, data_dir=tmp_path) as agent:
        async with reading(agent, SIMULATE, **script, scenario="approval") as before:
            await before.until(b"event: waiting")
        async with reading(agent, SIMULATE, **script) as queued:
            await queued.until(b"event: run_started")
    async with service(NOWHERE, data_dir=tmp_path) as agent:
        [call] = (await get(agent, f"{RUNS}/{before.run_id}"))["pending"]
        await decide(agent, before.run_id, call["tool_call_id"])
        events = await whole(agent, queued.run_id)
    assert only(events, "complete")[0]["status"] == "succeeded"
    assert only(events, "tool_use")[0]["name"] == "get_weather"
