"""The agent's loop: thinking, steps, usage and limits, from the model's stream to the run's events."""

from typing import Any

import pytest
from agent_turns import END, complete, hosted, result_by_call, results_of
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import gives, named
from service import EXECUTE, Service, names, only, service, text
from wire import (
    Done,
    Finish,
    McpResults,
    Pause,
    RawChunk,
    Stall,
    Step,
    Text,
    Thinking,
    ToolCall,
    Usage,
    UsageChunk,
    answer,
)

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio


# Thinking


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("shape", ["str", "text", "thinking"])
async def test_thinking_under_each_name_and_in_each_shape(
    key: str, shape: Any, fake: FakeDedalus, shared: Service
) -> None:
    """Whatever a provider calls its reasoning, it is thinking, piece by piece and apart from the answer."""
    thinking = Thinking("Let me ", "see.", key=key, shape=shape, signature="c2ln")
    fake.turn(thinking, Text("Yes"), Finish(), Done())
    events = await shared.stream({"input": "?"})
    assert text(events, "thinking") == "Let me see."
    assert only(events, "final_output") == [{"content": "Yes"}]


async def test_thinking_beside_and_inside_the_content(fake: FakeDedalus, shared: Service) -> None:
    """Under two names at once it is reported once; as content parts it is still apart from the answer."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Twice. "}]},
        {"type": "text", "text": "Yes"},
    ]
    fake.turn(
        RawChunk({"choices": [{"delta": {"reasoning": "Once. ", "reasoning_content": "Once. "}}]}),
        RawChunk({"choices": [{"delta": {"content": parts}}]}),
        Finish(),
        Done(),
    )
    events = await shared.stream({"input": "?"})
    assert text(events, "thinking") == "Once. Twice. "
    assert text(events) == "Yes"


async def test_thinking_between_and_after_calls_keeps_the_grammar(lend: Lend) -> None:
    """A model that continues to think after a call has written that call to its end."""
    async with lend(named(gives("one", 1), gives("two", 2))) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), Thinking("And?"), ToolCall("c2", "two", "{}", index=1), Thinking(), *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert result_by_call(events) == {"c1": "1", "c2": "2"}
    assert text(events, "thinking") == "And?"


async def test_half_a_character_held_back_after_a_call_keeps_the_grammar(lend: Lend) -> None:
    """Half a surrogate pair of thinking that is reported only at the end of the turn comes after the calls."""
    async with lend(named(gives("one", 1))) as (fake, agent):
        fake.turn(Thinking("Hm\ud83d"), ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert text(events, "thinking") == "Hm\ufffd"


# Steps, usage, and what comes back with the next request


async def test_usage_is_summed_over_the_steps(lend: Lend) -> None:
    """On the finish chunk or on one of its own, with its details or without: each step has its own, the run the sum."""
    async with lend(named(gives("one", 1))) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), Finish("tool_calls", Usage(10, 5, 15, reasoning=4)), Done())
        fake.turn(ToolCall("c2", "one", "{}"), Finish("tool_calls"), UsageChunk(20, 6, 26, cached=8), Done())
        fake.turn(ToolCall("c3", "one", "{}"), Finish("tool_calls"), Done())
        fake.turn(*answer("ok", Usage(1, 2, 3, reasoning=1, cached=1)))
        events = await agent.stream({"input": "?"})
    steps = only(events, "step_finished")
    assert [step["step"] for step in steps] == [1, 2, 3, 4]
    assert [step["finish_reason"] for step in steps] == ["tool_calls"] * 3 + ["stop"]
    assert [step["usage"] for step in steps] == [
        {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "reasoning_tokens": 4},
        {"input_tokens": 20, "output_tokens": 6, "total_tokens": 26, "cached_input_tokens": 8},
        {"input_tokens": None, "output_tokens": None, "total_tokens": None},
        {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "reasoning_tokens": 1, "cached_input_tokens": 1},
    ]
    assert complete(events)["usage"] == {
        "input_tokens": 31,
        "output_tokens": 13,
        "total_tokens": 44,
        "reasoning_tokens": 5,
        "cached_input_tokens": 9,
    }
    assert (complete(events)["steps"], complete(events)["finish_reason"]) == (4, "stop")


async def test_usage_that_nobody_reports_is_null(fake: FakeDedalus, shared: Service) -> None:
    """Unknown is not zero."""
    fake.turn(*answer("ok"))
    body = (await shared.post(EXECUTE, {"input": "?"})).json()
    assert body["usage"] == {"input_tokens": None, "output_tokens": None, "total_tokens": None}


async def test_only_the_last_step_s_text_is_the_answer(lend: Lend) -> None:
    """Text before a model's calls is reported, and sent back to the model, but isn't the final output."""
    async with lend(named(gives("one", 1))) as (fake, agent):
        fake.turn(Text("Let me see. "), ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("One."))
        events = await agent.stream({"input": "?"})
    assert text(events) == "Let me see. One."
    assert only(events, "final_output") == [{"content": "One."}]


async def test_execute_folds_steps_and_calls(lend: Lend) -> None:
    """The JSON answer has each call with its result, wherever it was run, and the thinking of all steps."""
    async with lend(named(gives("one", 1))) as (fake, agent):
        fake.turn(Thinking("Hm. "), Text("First. "), ToolCall("c1", "one", '{"x":1}'), *END)
        fake.turn(Thinking("So."), McpResults([hosted("search", {}, "hit", server_name="s")]), *answer("One."))
        body = (await agent.post(EXECUTE, {"input": "?"})).json()
    ours, theirs = body["tool_calls"]
    assert ours == {
        "tool_call_id": "c1",
        "name": "one",
        "arguments": {"x": 1},
        "source": "python",
        "result": "1",
        "is_error": False,
    }
    assert (theirs["name"], theirs["server"], theirs["result"]) == ("search", "s", "hit")
    assert (body["output"], body["thinking"], body["steps"]) == ("One.", "Hm. So.", 2)


async def test_the_correlation_id_comes_back(lend: Lend) -> None:
    """Dedalus ties the turns of a mixed run together by an id, which the next request echoes."""
    async with lend(named(gives("one", 1))) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), RawChunk({"choices": [], "correlation_id": "corr-1"}), *END)
        fake.turn(ToolCall("c2", "one", "{}"), *END)
        fake.turn(*answer("ok"))
        await agent.stream({"input": "?"})
        assert [request.body.get("correlation_id") for request in fake.chats] == [None, "corr-1", "corr-1"]


async def test_the_time_to_the_first_token(fake: FakeDedalus, shared: Service) -> None:
    """It is measured to the first piece of whatever the model writes, and absent where it wrote nothing."""
    fake.turn(Pause(0.05), Thinking("Hm."), Pause(0.05), Text("ok"), Finish(), Done())
    timed = complete(await shared.stream({"input": "?"}))
    fake.turn(Finish(), Done())
    mute = complete(await shared.stream({"input": "?"}))
    assert timed["time_to_first_token_ms"] >= 49
    assert timed["duration_ms"] >= timed["time_to_first_token_ms"] + 49
    assert "time_to_first_token_ms" not in mute


# Limits


async def test_max_steps_ends_the_run_as_an_error(lend: Lend) -> None:
    """A model that still wants tools after the last turn: each call has its result, none of them was run."""
    one = gives("one", 1)
    async with lend(named(one)) as (fake, agent):
        fake.always(Text("More."), ToolCall(None, "one", "{}"), *END)
        events = await agent.stream({"input": "?", "max_steps": 2})
        assert len(fake.chats) == 2
    [error] = only(events, "error")
    assert (error["code"], error["retryable"]) == ("max_steps", False)
    assert (complete(events)["status"], complete(events)["steps"]) == ("failed", 2)
    assert len(one.heard) == 1
    assert [result["is_error"] for result in only(events, "tool_result")] == [False, True]
    assert names(events)[-3:] == ["step_finished", "error", "complete"]


async def test_max_steps_is_a_422_of_execute() -> None:
    """The JSON endpoint answers the error's status with the run's id; the setting holds where nothing is asked for."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1)), max_steps=1) as agent:
        fake.always(ToolCall(None, "one", "{}"), *END)
        response = await agent.post(EXECUTE, {"input": "?"})
        assert len(fake.chats) == 1
        events = await agent.events(response.json()["error"]["run_id"])
    assert (response.status_code, response.json()["error"]["code"]) == (422, "max_steps")
    assert names(events)[-2:] == ["error", "complete"]


async def test_the_last_step_may_have_hosted_calls(fake: FakeDedalus, shared: Service) -> None:
    """With max_steps 1 a turn whose calls the upstream ran itself is an answer like any other."""
    fake.turn(McpResults([hosted("search", {}, "hit")]), *answer("ok"))
    events = await shared.stream({"input": "?", "max_steps": 1})
    assert complete(events)["status"] == "succeeded"


@pytest.mark.parametrize(
    ("result", "kept"),
    [
        ("a" * 1024, None),
        ("a" * 1025, "a" * 1024),
        ("a" + "ö" * 512, "a" + "ö" * 511),
        ("ab" + "😀" * 256, "ab" + "😀" * 255),
        (["😀" * 300], '["' + "😀" * 255),
    ],
)
async def test_a_tool_result_too_large_is_cut_between_characters(result: Any, kept: str | None) -> None:
    """Not one byte more than MAX_TOOL_RESULT_BYTES is passed on, no character is torn, and the cut is marked."""
    async with (
        FakeDedalus() as fake,
        service(fake.url, named(gives("one", result)), max_tool_result_bytes=1024) as agent,
    ):
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
        [(_, heard)] = results_of(fake.chats[1])
    [told_result] = only(events, "tool_result")
    assert told_result["content"] == heard == (result if kept is None else kept)
    assert told_result["truncated"] is (kept is not None)
    assert len(heard.encode()) <= 1024


async def test_a_hosted_result_too_large_is_cut_as_well() -> None:
    """The limit holds for what the upstream's tools give."""
    async with FakeDedalus() as fake, service(fake.url, max_tool_result_bytes=1024) as agent:
        fake.turn(McpResults([hosted("search", {}, "a" * 2000)]), *answer("ok"))
        [result] = only(await agent.stream({"input": "?"}), "tool_result")
    assert (len(result["content"]), result["truncated"]) == (1024, True)


@pytest.mark.parametrize(
    "flood",
    [Text(*["ö" * 100] * 6), Thinking(*["ö" * 100] * 6), ToolCall("c1", "one", '{"a":"', *["ö" * 100] * 6, '"}')],
)
async def test_a_model_that_writes_without_end_is_stopped(flood: Step, lend: Lend) -> None:
    """Beyond MAX_OUTPUT_BYTES of text, thinking and arguments together the run fails; what came before was reported."""
    async with lend(max_output_bytes=1024) as (fake, agent):
        fake.turn(Text("Hi"), flood, Stall())
        events = await agent.stream({"input": "?"})
        await fake.wait_closed(fake.chats[0].connection, timeout=1)
    [error] = only(events, "error")
    assert (error["code"], error["retryable"]) == ("output_limit", False)
    written = text(events) + text(events, "thinking")
    written += "".join(delta["arguments_delta"] for delta in only(events, "tool_use_delta"))
    assert 800 <= len(written.encode()) <= 1024


async def test_the_output_of_all_steps_counts() -> None:
    """The limit is the run's: two steps, each below it, can exceed it together."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1)), max_output_bytes=1024) as agent:
        fake.turn(Text("a" * 600), ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("a" * 600))
        response = await agent.post(EXECUTE, {"input": "?"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "output_limit")


@pytest.mark.parametrize("labelled", [True, False])
async def test_a_model_that_calls_tools_without_end_is_stopped(labelled: bool, lend: Lend) -> None:
    """Beyond MAX_CALLS_PER_TURN the run fails, no call is run, and the upstream's connection is closed at once."""
    one = gives("one", 1)
    async with lend(named(one), max_calls_per_turn=3) as (fake, agent):
        calls = [ToolCall(f"c{n}" if labelled else None, "one", "{}", index=n if labelled else None) for n in range(4)]
        fake.turn(*calls, Stall())
        events = await agent.stream({"input": "?"})
        await fake.wait_closed(fake.chats[0].connection, timeout=1)
    [error] = only(events, "error")
    assert (error["code"], error["retryable"]) == ("too_many_calls", False)
    assert one.heard == only(events, "tool_use") == []


async def test_hosted_results_without_end_are_stopped(lend: Lend) -> None:
    """Results count, too, where they come without their calls."""
    async with lend(max_calls_per_turn=3) as (fake, agent):
        fake.turn(McpResults([hosted("search", {}, "hit")] * 4), *answer("ok"))
        events = await agent.stream({"input": "?"})
    assert [error["code"] for error in only(events, "error")] == ["too_many_calls"]
