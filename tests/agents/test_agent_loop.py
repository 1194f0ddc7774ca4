"""The agent loop through the whole service: thinking, tool calls of ours and of the upstream's, and what ends a run."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from local_tools import LocalTool, added, gives, named
from run_readers import reading
from service import EXECUTE, STREAM, Event, Service, checked, names, only, service, text
from wire import (
    Done,
    EndBody,
    ErrorData,
    Finish,
    Gate,
    Json,
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
    WaitFor,
    answer,
)

pytestmark = pytest.mark.anyio

END = [Finish("tool_calls"), Done()]
QUESTION: Json = {"role": "user", "content": "?"}


def hosted(name: str, arguments: Json, result: Any, *, is_error: bool = False, **extra: Any) -> Json:
    """An entry of `mcp_tool_results`."""
    return {"tool_name": name, "arguments": arguments, "result": result, "is_error": is_error, **extra}


def calls_of(request: Any) -> list[Json]:
    """What a second request echoes of the first turn's calls."""
    calls: list[Json] = request.body["messages"][1]["tool_calls"]
    return calls


def results_of(request: Any) -> list[tuple[str, str]]:
    """The ids and contents of the tool messages of a request."""
    return [(m["tool_call_id"], m["content"]) for m in request.body["messages"] if m["role"] == "tool"]


def told(events: Sequence[Event]) -> dict[str, Any]:
    """Each call's result by the call's id; and each call has one."""
    results = {data["tool_call_id"]: data["content"] for data in only(list(events), "tool_result")}
    assert set(results) == {data["tool_call_id"] for data in only(list(events), "tool_use")}
    return results


def complete(events: Sequence[Event]) -> Json:
    data: Json = events[-1]["data"]
    return data


# Thinking


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("shape", ["str", "text", "thinking"])
async def test_thinking_under_each_name_and_in_each_shape(key: str, shape: Any) -> None:
    """Whatever a provider calls its reasoning, it is thinking, piece by piece and apart from the answer."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        thinking = Thinking("Let me ", "see.", key=key, shape=shape, signature="c2ln")
        fake.turn(thinking, Text("Yes"), Finish(), Done())
        events = await agent.stream({"input": "?"})
    assert text(events, "thinking") == "Let me see."
    assert only(events, "final_output") == [{"content": "Yes"}]


async def test_thinking_beside_and_inside_the_content() -> None:
    """Under two names at once it is told once; as content parts it is still apart from the answer."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Twice. "}]},
        {"type": "text", "text": "Yes"},
    ]
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(
            RawChunk({"choices": [{"delta": {"reasoning": "Once. ", "reasoning_content": "Once. "}}]}),
            RawChunk({"choices": [{"delta": {"content": parts}}]}),
            Finish(),
            Done(),
        )
        events = await agent.stream({"input": "?"})
    assert text(events, "thinking") == "Once. Twice. "
    assert text(events) == "Yes"


async def test_thinking_between_and_after_calls_keeps_the_grammar() -> None:
    """A model that goes on thinking after a call has written that call to its end."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1), gives("two", 2))) as agent:
        fake.turn(ToolCall("c1", "one", "{}"), Thinking("And?"), ToolCall("c2", "two", "{}", index=1), Thinking(), *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert told(events) == {"c1": "1", "c2": "2"}
    assert text(events, "thinking") == "And?"


async def test_half_a_character_held_back_after_a_call_keeps_the_grammar() -> None:
    """Half a surrogate pair of thinking that is told only at the end of the turn comes after the calls."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1))) as agent:
        fake.turn(Thinking("Hm\ud83d"), ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert text(events, "thinking") == "Hm\ufffd"


# Our own tools


async def test_arguments_are_told_while_the_model_writes_them() -> None:
    """The first piece of the arguments is read before the upstream has sent the second; then comes the call, once."""
    gate = Gate()
    add = LocalTool("add", added)
    async with FakeDedalus() as fake, service(fake.url, named(add)) as agent:
        fake.turn(ToolCall("c1", "add", '{"a":1,'), WaitFor(gate), ToolCall(None, None, '"b":', "2}"), *END)
        fake.turn(*answer("3"))
        async with reading(agent) as reader:
            await reader.until(b'"arguments_delta":"{\\"a\\":1,"')
            assert b"tool_use\n" not in reader.seen
            gate.open()
            events = checked(await reader.rest())
    label = {"tool_call_id": "c1", "name": "add", "source": "python"}
    deltas = only(events, "tool_use_delta")
    assert "".join(delta["arguments_delta"] for delta in deltas) == '{"a":1,"b":2}'
    assert all(delta == label | {"arguments_delta": delta["arguments_delta"]} for delta in deltas)
    assert only(events, "tool_use") == [label | {"arguments": {"a": 1, "b": 2}}]
    assert add.heard == [{"a": 1, "b": 2}]


async def test_the_second_request_is_what_openai_wants() -> None:
    """The assistant's message with every call and its extra keys, then each result in the model's order."""
    two_is_done = asyncio.Event()

    async def one(_: Json) -> Any:
        await two_is_done.wait()
        return {"sum": 3, "name": "Zoë"}

    async def two(_: Json) -> Any:
        two_is_done.set()
        return "plain"

    tools = named(LocalTool("one", one), LocalTool("two", two))
    extra = {"cache_control": {"type": "ephemeral"}}
    opening = {"index": 1, "id": "c2", "type": "function", "function": {"name": "two", "arguments": ""}, **extra}
    async with FakeDedalus() as fake, service(fake.url, tools) as agent:
        fake.turn(
            Text("Let me see."),
            ToolCall("c1", "one", '{"x": ', '"ö"}', thought_signature="c2ln"),
            RawChunk({"choices": [{"delta": {"tool_calls": [opening]}}]}),
            *END,
        )
        fake.turn(*answer("Done"))
        events = await agent.stream({"input": "?", "instructions": "Be brief.", "temperature": 0})
        first, second = fake.chats
    called = {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "one", "arguments": '{"x": "ö"}'},
                "thought_signature": "c2ln",
            },
            {"id": "c2", "type": "function", "function": {"name": "two", "arguments": "{}"}, **extra},
        ],
    }
    results = [
        {"role": "tool", "tool_call_id": "c1", "content": '{"sum":3,"name":"Zoë"}'},
        {"role": "tool", "tool_call_id": "c2", "content": "plain"},
    ]
    assert [data["tool_call_id"] for data in only(events, "tool_result")] == ["c2", "c1"]
    assert second.body == {**first.body, "messages": [*first.body["messages"], called, *results]}
    assert only(events, "final_output") == [{"content": "Done"}]


async def test_a_turn_without_text_has_null_content() -> None:
    """An assistant message with calls and no text says null, which every server takes."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1))) as agent:
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("ok"))
        await agent.stream({"input": "?"})
        assert fake.chats[1].body["messages"][1]["content"] is None


async def test_the_model_is_told_of_the_tools() -> None:
    """Each request offers every tool with its schema; without tools it says nothing of them."""
    tools = named(gives("one", 1), gives("two", 2))
    async with FakeDedalus() as fake, service(fake.url, tools) as agent:
        fake.turn(*answer("ok"))
        await agent.stream({"input": "?"})
        [request] = fake.chats
    assert request.body["tools"] == [
        {
            "type": "function",
            "function": {"name": name, "description": tool.description, "parameters": tool.parameters},
        }
        for name, tool in tools.items()
    ]
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(*answer("ok"))
        await agent.stream({"input": "?"})
        assert "tools" not in fake.chats[0].body


async def test_tools_run_at_the_same_time() -> None:
    """Three calls that wait for one another end only because each of them was started."""
    barrier = asyncio.Barrier(3)

    async def meet(_: Json) -> Any:
        async with asyncio.timeout(5):
            return await barrier.wait() >= 0

    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("meet", meet))) as agent:
        fake.turn(*[ToolCall(f"c{place}", "meet", "{}", index=place) for place in range(3)], *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert told(events) == {"c0": "true", "c1": "true", "c2": "true"}


async def test_a_call_is_told_before_it_runs_and_each_result_as_it_comes() -> None:
    """While the first tool still works, a reader has seen both calls and the second one's result."""
    release = asyncio.Event()

    async def slow(_: Json) -> Any:
        await release.wait()
        return "slow"

    tools = named(LocalTool("slow", slow), gives("fast", "quick"))
    async with FakeDedalus() as fake, service(fake.url, tools) as agent:
        fake.turn(ToolCall("c1", "slow", "{}"), ToolCall("c2", "fast", "{}", index=1), *END)
        fake.turn(*answer("ok"))
        async with reading(agent) as reader:
            await reader.until(b"event: tool_result\n")
            assert reader.seen.count(b"event: tool_use\n") == 2
            assert b'"content":"quick"' in reader.seen
            release.set()
            events = checked(await reader.rest())
    assert [data["content"] for data in only(events, "tool_result")] == ["quick", "slow"]
    assert all(data["duration_ms"] >= 0 for data in only(events, "tool_result"))


async def test_a_tool_that_raises_is_an_error_that_the_model_sees(caplog: pytest.LogCaptureFixture) -> None:
    """The run goes on; what the tool raised stays in the server's log but for its kind."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", ValueError("secret")))) as agent:
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
        [(_, heard)] = results_of(fake.chats[1])
    [result] = only(events, "tool_result")
    assert result["is_error"]
    assert heard == result["content"] == "The tool failed with ValueError."
    assert complete(events)["status"] == "succeeded"
    assert "ValueError: secret" in caplog.text


async def test_a_tool_whose_own_work_was_cancelled_has_failed() -> None:
    """CancelledError out of a tool, when nobody cancels the run, is the tool's failure and no end without a result."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", asyncio.CancelledError()))) as agent:
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
    [result] = only(events, "tool_result")
    assert result["is_error"]
    assert complete(events)["status"] == "succeeded"


@pytest.mark.parametrize("result", [object(), {"deep": [object()]}])
async def test_a_result_that_is_no_json_is_the_tool_s_failure(result: Any) -> None:
    """A tool that gives something else than a JSON value has failed, and the run goes on."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", result))) as agent:
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
    [told_result] = only(events, "tool_result")
    assert told_result["is_error"]
    assert complete(events)["status"] == "succeeded"


@pytest.mark.parametrize("result", ["a\ud83d", {"a\udc00": ["\ud83d\ude00"]}])
async def test_half_a_surrogate_pair_in_a_result_is_mended(result: Any) -> None:
    """What a tool read with the wrong encoding can still be told, with U+FFFD in place of what is no character."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", result))) as agent:
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
        [(_, heard)] = results_of(fake.chats[1])
    expected = "a\ufffd" if isinstance(result, str) else '{"a\ufffd":["😀"]}'
    assert told(events) == {"c1": expected}
    assert heard == expected


@pytest.mark.parametrize(
    "written", ['{"a":', "[1]", '"x"', "1", "no JSON", '{"a":NaN}', '{"a":1e400}', '{"a":1}{"b":2}', "[" * 2000]
)
async def test_arguments_that_are_no_object_are_an_error_that_the_model_sees(written: str) -> None:
    """They are told as text beside empty arguments; the tool is not run, and the model hears of its mistake."""
    one = gives("one", 1)
    async with FakeDedalus() as fake, service(fake.url, named(one)) as agent:
        fake.turn(ToolCall("c1", "one", written), *END)
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
        [call], [(_, heard)] = calls_of(fake.chats[1]), results_of(fake.chats[1])
    [use], [result] = only(events, "tool_use"), only(events, "tool_result")
    assert (use["arguments"], use["invalid_arguments"]) == ({}, written)
    assert result["is_error"]
    assert heard == result["content"]
    assert written in heard
    assert json.loads(call["function"]["arguments"]) == {}
    assert one.heard == []
    assert complete(events)["status"] == "succeeded"


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        ((), {}),
        (('{"a":"\\ud83d', '\\ude00"}'), {"a": "😀"}),
        (('{"a":"\ud83d', '\ude00"}'), {"a": "😀"}),
        (('{"a":"\\ud83d"}',), {"a": "\ufffd"}),
        (('{"a":1.0,"b":12345678901234567890123,"c":null}',), {"a": 1.0, "b": 12345678901234567890123, "c": None}),
    ],
)
async def test_arguments_reach_the_tool_as_they_are_told(pieces: tuple[str, ...], arguments: Json) -> None:
    """No text at all means none; surrogate pairs cut in two are joined, and half ones replaced."""
    one = gives("one", 1)
    async with FakeDedalus() as fake, service(fake.url, named(one)) as agent:
        fake.turn(ToolCall("c1", "one", *pieces), *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert [use["arguments"] for use in only(events, "tool_use")] == one.heard == [arguments]


@pytest.mark.parametrize("depth", [100, 300, 900])
@pytest.mark.parametrize("half", ["", "\\ud83d"])
async def test_deeply_nested_arguments_do_not_break_the_run(depth: int, half: str) -> None:
    """What nests deeper than readers can be counted on to read is refused, and the run succeeds, also as JSON."""
    written = '{"a":' + "[" * depth + f'"{half}"' + "]" * depth + "}"
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1))) as agent:
        for _ in range(2):
            fake.turn(ToolCall("c1", "one", written), *END)
            fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
        folded = await agent.post(EXECUTE, {"input": "?"})
    assert only(events, "tool_use")[0]["invalid_arguments"] == written
    assert complete(events)["status"] == folded.json()["status"] == "succeeded"


# Ids and places of calls


async def test_missing_and_repeated_ids_are_replaced() -> None:
    """Each call has an id of its own, in the events and in the second request, and gets its own result."""
    calls = [
        ToolCall(None, "add", '{"a":1,"b":1}', index=0),
        ToolCall("same", "add", '{"a":2,"b":2}', index=1),
        ToolCall("same", "add", '{"a":3,"b":3}', index=2),
    ]
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(*calls, *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
        second = fake.chats[1]
    ids = [data["tool_call_id"] for data in only(events, "tool_use")]
    assert len(set(ids)) == 3
    assert ids[1] == "same"
    assert [call["id"] for call in calls_of(second)] == ids
    assert results_of(second) == list(zip(ids, ["2", "4", "6"], strict=True))
    assert told(events) == dict(results_of(second))


async def test_an_id_repeated_in_a_later_turn_is_replaced() -> None:
    """Servers that count their calls from 0 in each turn repeat ids; in a run each call has one of its own."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(ToolCall("call_0", "add", '{"a":1,"b":1}'), *END)
        fake.turn(ToolCall("call_0", "add", '{"a":2,"b":2}'), *END)
        fake.turn(*answer("ok"))
        response = await agent.post(STREAM, {"input": "?"})
        events = checked(response.content)
        third = fake.chats[2]
    assert sorted(told(events).values()) == ["2", "4"]
    assert [content for _, content in results_of(third)] == ["2", "4"]


@pytest.mark.parametrize("repeated", ["id", "name", "both"])
async def test_what_each_piece_of_a_call_repeats(repeated: str) -> None:
    """Some servers send the id or the name with every piece: it is still one call."""
    call_id, name = ("c1" if repeated != "name" else None), ("add" if repeated != "id" else None)
    pieces = [ToolCall("c1", "add", '{"a":1'), ToolCall(call_id, name, ',"b"'), ToolCall(call_id, name, ":2}")]
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(*pieces, *END)
        fake.turn(*answer("ok"))
        assert told(await agent.stream({"input": "?"})) == {"c1": "3"}


async def test_a_new_id_without_a_name_is_the_same_call() -> None:
    """Some servers make up another id for every piece of a call: only a name begins a new one."""
    pieces = [ToolCall("c1", "add", '{"a":1'), ToolCall("c1b", None, ',"b"'), ToolCall("c1c", None, ":2}")]
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(*pieces, *END)
        fake.turn(*answer("ok"))
        assert told(await agent.stream({"input": "?"})) == {"c1": "3"}


async def test_calls_without_an_index() -> None:
    """Without an index, pieces belong to the call before, and a new call begins with its id and name."""
    calls = [
        ToolCall("c1", "add", '{"a":1,"b":1}', index=None),
        ToolCall("c2", "add", '{"a":2,', index=None),
        ToolCall(None, None, '"b":2}', index=None),
    ]
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(*calls, *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert told(events) == {"c1": "2", "c2": "4"}


@pytest.mark.parametrize("index", [None, 0])
async def test_whole_calls_without_ids_of_their_own(index: int | None) -> None:
    """Whole calls without ids, all in one place: each is a call, since the one before was already complete."""
    calls = [ToolCall(None, "add", f'{{"a":{n},"b":{n}}}', index=index) for n in (1, 2)]
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(*calls, *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert sorted(told(events).values()) == ["2", "4"]


async def test_whole_calls_with_the_same_index_and_their_own_ids() -> None:
    """Some servers give every call the index 0: an id of its own makes it another call."""
    calls = [ToolCall(f"c{n}", "add", f'{{"a":{n},"b":{n}}}', index=0) for n in (1, 2)]
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(*calls, *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
        assert results_of(fake.chats[1]) == [("c1", "2"), ("c2", "4")]
    assert told(events) == {"c1": "2", "c2": "4"}


async def test_interleaved_calls_are_kept_apart() -> None:
    """Pieces of two calls that come in turns go each to their own by the index."""
    pieces = [
        ToolCall("c1", "add", '{"a":1,'),
        ToolCall("c2", "add", '{"a":2,', index=1),
        ToolCall(None, None, '"b":1}'),
        ToolCall(None, None, '"b":2}', index=1),
    ]
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(*pieces, *END)
        fake.turn(*answer("ok"))
        assert told(await agent.stream({"input": "?"})) == {"c1": "2", "c2": "4"}


@pytest.mark.parametrize(
    "call",
    [
        {"index": 0, "id": "c1", "function": {"name": 5, "arguments": "{}"}},
        {"index": 0, "id": "c1", "function": {"name": ["add"], "arguments": "{}"}},
        {"index": "0", "id": "c1", "function": "add"},
    ],
)
async def test_calls_that_make_no_sense_are_the_upstream_s_fault(call: Json) -> None:
    """A call with a name or a function of another kind is a broken upstream, not a bug here."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(Text("Hi"), RawChunk({"choices": [{"delta": {"tool_calls": [call]}}]}), *END)
        events = await agent.stream({"input": "?"})
    assert text(events) == "Hi"
    assert [error["code"] for error in only(events, "error")] == ["upstream_protocol"]


async def test_arguments_as_an_object() -> None:
    """Some servers send the arguments as JSON and not as text."""
    call = {"index": 0, "id": "c1", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(RawChunk({"choices": [{"delta": {"tool_calls": [call]}}]}), *END)
        fake.turn(*answer("ok"))
        assert told(await agent.stream({"input": "?"})) == {"c1": "3"}


async def test_text_between_two_pieces_of_a_call() -> None:
    """A call goes on after text and reasoning, and is told, whole, at the turn's end."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(
            ToolCall("c1", "add", '{"a":1,'),
            Text("Adding. "),
            Thinking("Hm."),
            ToolCall(None, None, '"b":2}'),
            Text("Wait."),
            *END,
        )
        fake.turn(*answer("3"))
        events = await agent.stream({"input": "?"})
        [_, called, _] = fake.chats[1].body["messages"]
    assert told(events) == {"c1": "3"}
    assert names(events)[:8] == [
        *("run_started", "step_started", "tool_use_delta", "partial_output", "thinking", "tool_use_delta"),
        *("partial_output", "tool_use"),
    ]
    assert called["content"] == "Adding. Wait."


async def test_calls_that_name_no_tool() -> None:
    """One without a name and arguments is dropped; arguments without a name are an error that the model sees."""
    add = LocalTool("add", added)
    async with FakeDedalus() as fake, service(fake.url, named(add)) as agent:
        fake.turn(ToolCall("c1", None), ToolCall("c2", None, '{"a":1}', index=1), *END)
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
        [(call_id, heard)] = results_of(fake.chats[1])
    assert (call_id, heard) == ("c2", "Not run: this call named no tool.")
    assert [use["arguments"] for use in only(events, "tool_use")] == [{"a": 1}]
    assert [result["is_error"] for result in only(events, "tool_result")] == [True]
    assert add.heard == []
    assert complete(events)["status"] == "succeeded"


async def test_a_turn_of_nothing_but_a_nameless_piece() -> None:
    """What is no call at all asks for no other turn."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1))) as agent:
        fake.turn(ToolCall("c1", None), *answer("Hi"))
        events = await agent.stream({"input": "?"})
    assert (text(events), only(events, "tool_use")) == ("Hi", [])


async def test_a_hosted_result_between_the_pieces_of_another_call() -> None:
    """It belongs to its own call, which is told then; the other one goes on."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(
            ToolCall("c1", "search", '{"q":"a"}'),
            ToolCall("c2", "search", '{"q":', index=1),
            McpResults([hosted("search", {"q": "a"}, "A")]),
            ToolCall(None, None, '"b"}', index=1),
            McpResults([hosted("search", {"q": "b"}, "B")]),
            Text("ok"),
            Finish(),
            Done(),
        )
        events = await agent.stream(MCP)
    assert told(events) == {"c1": "A", "c2": "B"}
    assert [use["arguments"] for use in only(events, "tool_use")] == [{"q": "a"}, {"q": "b"}]


# Calls of an answer that was cut


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "content_filter"])
async def test_no_call_of_a_cut_answer_is_run(reason: str) -> None:
    """Whatever its arguments look like; the model is told so, and can make the call again."""
    delete = gives("delete", "deleted")
    arguments = ["", '{"path":', '{"path":"."}']
    async with FakeDedalus() as fake, service(fake.url, named(delete)) as agent:
        for written in arguments:
            fake.turn(ToolCall(None, "delete", written), Finish(reason), Done())
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
        results = results_of(fake.chats[3])
    assert delete.heard == []
    assert all(heard.startswith(f"Not run: the answer was cut off ({reason})") for _, heard in results)
    assert [result["is_error"] for result in only(events, "tool_result")] == [True] * 3
    assert [step["finish_reason"] for step in only(events, "step_finished")] == [*[reason] * 3, "stop"]


async def test_the_first_call_of_a_cut_answer_is_not_run_either() -> None:
    """The calls of one answer belong together, and the model hasn't finished them."""
    add = LocalTool("add", added)
    async with FakeDedalus() as fake, service(fake.url, named(add)) as agent:
        fake.turn(
            ToolCall("c1", "add", '{"a":1,"b":1}'), ToolCall("c2", "add", '{"a":', index=1), Finish("length"), Done()
        )
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
    assert add.heard == []
    assert [result["is_error"] for result in only(events, "tool_result")] == [True, True]


@pytest.mark.parametrize("tokens", [49, 50])
async def test_an_answer_that_used_up_its_tokens_was_cut(tokens: int) -> None:
    """vLLM says `tool_calls` of it: the count tells what the reason doesn't."""
    one = gives("one", 1)
    async with FakeDedalus() as fake, service(fake.url, named(one)) as agent:
        fake.turn(ToolCall("c1", "one", "{}"), Finish("tool_calls", Usage(10, tokens, 60)), Done())
        fake.turn(*answer("ok"))
        await agent.stream({"input": "?", "max_tokens": 50})
    assert one.heard == ([{}] if tokens == 49 else [])


async def test_a_call_of_a_cut_answer_asks_nobody() -> None:
    """A tool that waits for a person or for the page isn't asked for, since it wouldn't be run."""
    page = {"name": "confirm", "description": "Ask.", "parameters": {"type": "object", "properties": {}}}
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(ToolCall("c1", "confirm", "{}"), Finish("length"), Done())
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?", "client_tools": [page]})
    assert "waiting" not in names(events)
    assert complete(events)["status"] == "succeeded"


# Tools that the upstream runs itself


MCP = {"input": "?", "mcp_servers": ["tsion/exa"]}


@pytest.mark.parametrize("choices_empty", [True, False])
async def test_a_hosted_call_and_its_result(choices_empty: bool) -> None:
    """The upstream's own call is told with its server and its result; there is no second request."""
    result = hosted("search", {"q": "x"}, {"hits": [1, 2]}, duration_ms=321, server_name="tsion/exa")
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(
            ToolCall("c1", "search", '{"q"', ':"x"}'),
            McpResults([result], choices_empty),
            Text("Found."),
            Finish(),
            Done(),
        )
        events = await agent.stream(MCP)
        assert len(fake.chats) == 1
    label = {"tool_call_id": "c1", "name": "search"}
    mcp = {"source": "mcp", "server": "tsion/exa"}
    assert only(events, "tool_use") == [label | mcp | {"arguments": {"q": "x"}}]
    assert only(events, "tool_result") == [
        label | {"content": '{"hits":[1,2]}', "is_error": False, "duration_ms": 321, "truncated": False}
    ]
    assert only(events, "final_output") == [{"content": "Found."}]


async def test_a_hosted_result_of_an_odd_form_loses_no_answer() -> None:
    """A result without a tool's name is that of the waiting call, or of an unnamed one; what is no result is none."""
    results = [{"arguments": '{"q":"x"}', "result": "X"}, None, "odd", {"tool_name": None, "result": "Y"}]
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(
            *(ToolCall("c1", "search", '{"q":"x"}'), RawChunk({"choices": [], "mcp_tool_results": results})),
            *(Text("Found."), Finish(), Done()),
        )
        events = await agent.stream(MCP)
    assert [(given["name"], given["content"]) for given in only(events, "tool_result")] == [
        ("search", "X"),
        ("unnamed", "Y"),
    ]
    assert only(events, "final_output") == [{"content": "Found."}]


async def test_results_of_one_name_are_matched_by_their_arguments() -> None:
    """Two calls of one tool get each their own result, in whatever order the results come."""
    results = [hosted("search", {"q": "b"}, "B"), hosted("search", {"q": "a"}, "A")]
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(
            ToolCall("c1", "search", '{"q":"a"}'),
            ToolCall("c2", "search", '{"q":"b"}', index=1),
            McpResults(results),
            Text("ok"),
            Finish(),
            Done(),
        )
        assert told(await agent.stream(MCP)) == {"c1": "A", "c2": "B"}


async def test_results_of_the_same_arguments_go_to_the_calls_in_order() -> None:
    """The same call twice: the first result is the first call's; other arguments than any call's go to what is left."""
    results = [hosted("search", {"q": "a"}, "1"), hosted("search", {"q": "a"}, "2"), hosted("search", {"q": "?"}, "3")]
    async with FakeDedalus() as fake, service(fake.url) as agent:
        calls = [ToolCall(f"c{n}", "search", '{"q":"a"}', index=n) for n in range(3)]
        fake.turn(*calls, McpResults(results), Text("ok"), Finish(), Done())
        assert told(await agent.stream(MCP)) == {"c0": "1", "c1": "2", "c2": "3"}


async def test_a_result_without_a_call_is_told_with_one() -> None:
    """Dedalus may run a tool without streaming its call: the call is told from the result."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        failed = hosted("fetch", {"url": "x"}, "timeout", is_error=True, server_name="tsion/exa")
        fake.turn(McpResults([failed]), Text("Sorry"), Finish(), Done())
        events = await agent.stream({"input": "?"})
    [use], [result] = only(events, "tool_use"), only(events, "tool_result")
    assert (use["name"], use["arguments"], use["source"], use["server"]) == ("fetch", {"url": "x"}, "mcp", "tsion/exa")
    assert (result["tool_call_id"], result["content"], result["is_error"]) == (use["tool_call_id"], "timeout", True)


async def test_a_hosted_call_without_a_result_is_never_sent_again() -> None:
    """Server-side calls alone end the run, though there is no text and the finish reason says tool_calls."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(ToolCall("c1", "search", "{}"), *END)
        events = await agent.stream(MCP)
        assert len(fake.chats) == 1
    assert told(events) == {"c1": ""}
    assert complete(events)["status"] == "succeeded"
    assert complete(events)["finish_reason"] == "tool_calls"


async def test_results_after_the_finish_reason_are_not_lost() -> None:
    """A last chunk with results and no choices, which comes after the finish reason in a read of its own, counts."""
    late = McpResults([hosted("search", {"q": "x"}, "late")])
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(ToolCall("c1", "search", '{"q":"x"}'), Pause(0.05), Finish(), Pause(0.05), late, Pause(0.05), Done())
        events = await agent.stream(MCP)
    assert told(events) == {"c1": "late"}


async def test_a_hosted_tool_with_a_local_tool_s_name() -> None:
    """A result that the upstream tells of a call of its own is that, also when we have a tool of the same name."""
    search = gives("search", "ours")
    async with FakeDedalus() as fake, service(fake.url, named(search)) as agent:
        fake.turn(McpResults([hosted("search", {"q": "x"}, "theirs")]), Text("ok"), Finish(), Done())
        events = await agent.stream(MCP)
        assert len(fake.chats) == 1
    assert list(told(events).values()) == ["theirs"]
    assert [use["source"] for use in only(events, "tool_use")] == ["mcp"]
    assert search.heard == []


async def test_local_and_hosted_calls_in_one_turn() -> None:
    """Ours is run, theirs is not; the second request has both calls with both results, in the model's order."""
    add = LocalTool("add", added)
    async with FakeDedalus() as fake, service(fake.url, named(add)) as agent:
        fake.turn(
            ToolCall("c1", "search", '{"q":"x"}'),
            ToolCall("c2", "add", '{"a":1,"b":2}', index=1),
            McpResults([hosted("search", {"q": "x"}, ["hit"])]),
            *END,
        )
        fake.turn(*answer("ok"))
        events = await agent.stream(MCP)
        second = fake.chats[1]
    assert told(events) == {"c1": '["hit"]', "c2": "3"}
    assert [use["source"] for use in only(events, "tool_use")] == ["mcp", "python"]
    assert [call["id"] for call in calls_of(second)] == ["c1", "c2"]
    assert results_of(second) == [("c1", '["hit"]'), ("c2", "3")]


@pytest.mark.parametrize(
    ("servers", "source", "server"),
    [
        ([], "hosted", None),
        (["tsion/exa"], "mcp", "tsion/exa"),
        (["tsion/exa", "joerup/exa-mcp"], "mcp", None),
    ],
)
async def test_where_a_call_comes_from(servers: list[str], source: str, server: str | None) -> None:
    """A call that isn't ours is the MCP server's where one was asked for, by name where there is one; else hosted."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(ToolCall("c1", "search", "{}"), Text("ok"), Finish(), Done())
        events = await agent.stream({"input": "?", "mcp_servers": servers})
    for data in only(events, "tool_use_delta") + only(events, "tool_use"):
        assert (data["source"], data.get("server")) == (source, server)


# Steps, usage, and what comes back with the next request


async def test_usage_is_summed_over_the_steps() -> None:
    """On the finish chunk or on one of its own, with its details or without: each step has its own, the run the sum."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1))) as agent:
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


async def test_usage_that_nobody_reports_is_null() -> None:
    """Unknown is not zero."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(*answer("ok"))
        body = (await agent.post(EXECUTE, {"input": "?"})).json()
    assert body["usage"] == {"input_tokens": None, "output_tokens": None, "total_tokens": None}


async def test_only_the_last_step_s_text_is_the_answer() -> None:
    """What the model said before its calls is told, and sent back to it, but isn't the final output."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1))) as agent:
        fake.turn(Text("Let me see. "), ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("One."))
        events = await agent.stream({"input": "?"})
    assert text(events) == "Let me see. One."
    assert only(events, "final_output") == [{"content": "One."}]


async def test_execute_folds_steps_and_calls() -> None:
    """The JSON answer has each call with its result, whoever ran it, and the thinking of all steps."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1))) as agent:
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


async def test_the_correlation_id_comes_back() -> None:
    """Dedalus ties the turns of a mixed run together by an id, which the next request echoes."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1))) as agent:
        fake.turn(ToolCall("c1", "one", "{}"), RawChunk({"choices": [], "correlation_id": "corr-1"}), *END)
        fake.turn(ToolCall("c2", "one", "{}"), *END)
        fake.turn(*answer("ok"))
        await agent.stream({"input": "?"})
        assert [request.body.get("correlation_id") for request in fake.chats] == [None, "corr-1", "corr-1"]


async def test_the_time_to_the_first_token() -> None:
    """It is measured to the first piece of whatever the model writes, and absent where it wrote nothing."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Pause(0.05), Thinking("Hm."), Pause(0.05), Text("ok"), Finish(), Done())
        timed = complete(await agent.stream({"input": "?"}))
        fake.turn(Finish(), Done())
        mute = complete(await agent.stream({"input": "?"}))
    assert timed["time_to_first_token_ms"] >= 49
    assert timed["duration_ms"] >= timed["time_to_first_token_ms"] + 49
    assert "time_to_first_token_ms" not in mute


# Limits


async def test_max_steps_ends_the_run_as_an_error() -> None:
    """A model that still wants tools after the last turn: each call has its result, none of them was run."""
    one = gives("one", 1)
    async with FakeDedalus() as fake, service(fake.url, named(one)) as agent:
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


async def test_the_last_step_may_have_hosted_calls() -> None:
    """With max_steps 1 a turn whose calls the upstream ran itself is an answer like any other."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(McpResults([hosted("search", {}, "hit")]), *answer("ok"))
        events = await agent.stream({"input": "?", "max_steps": 1})
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
    """Not one byte more than MAX_TOOL_RESULT_BYTES goes on, no character is torn, and the cut is marked."""
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
async def test_a_model_that_writes_without_end_is_stopped(flood: Step) -> None:
    """Beyond MAX_OUTPUT_BYTES of text, thinking and arguments together the run fails; what came before was told."""
    async with FakeDedalus() as fake, service(fake.url, max_output_bytes=1024) as agent:
        fake.turn(Text("Hi"), flood, Stall())
        events = await agent.stream({"input": "?"})
        await fake.wait_closed(0, timeout=1)
    [error] = only(events, "error")
    assert (error["code"], error["retryable"]) == ("output_limit", False)
    written = text(events) + text(events, "thinking")
    written += "".join(delta["arguments_delta"] for delta in only(events, "tool_use_delta"))
    assert 800 <= len(written.encode()) <= 1024


async def test_the_output_of_all_steps_counts() -> None:
    """The limit is the run's: two steps of which each stays below it can be too much together."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1)), max_output_bytes=1024) as agent:
        fake.turn(Text("a" * 600), ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("a" * 600))
        response = await agent.post(EXECUTE, {"input": "?"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "output_limit")


@pytest.mark.parametrize("labelled", [True, False])
async def test_a_model_that_calls_tools_without_end_is_stopped(labelled: bool) -> None:
    """Beyond MAX_CALLS_PER_TURN the run fails, none of the calls is run, and the upstream is let go at once."""
    one = gives("one", 1)
    async with FakeDedalus() as fake, service(fake.url, named(one), max_calls_per_turn=3) as agent:
        calls = [ToolCall(f"c{n}" if labelled else None, "one", "{}", index=n if labelled else None) for n in range(4)]
        fake.turn(*calls, Stall())
        events = await agent.stream({"input": "?"})
        await fake.wait_closed(0, timeout=1)
    [error] = only(events, "error")
    assert (error["code"], error["retryable"]) == ("too_many_calls", False)
    assert one.heard == only(events, "tool_use") == []


async def test_hosted_results_without_end_are_stopped() -> None:
    """Results count, too, where they come without their calls."""
    async with FakeDedalus() as fake, service(fake.url, max_calls_per_turn=3) as agent:
        fake.turn(McpResults([hosted("search", {}, "hit")] * 4), *answer("ok"))
        events = await agent.stream({"input": "?"})
    assert [error["code"] for error in only(events, "error")] == ["too_many_calls"]


# A run that ends while tools are under way


async def cancelled(agent: Service, run_id: str) -> None:
    response = await agent.client.post(f"/api/agent/runs/{run_id}/cancel")
    assert response.status_code == 202


async def test_a_tool_under_way_is_cancelled_with_its_run() -> None:
    """The tool hears of it, and its call has an error as its result before complete{cancelled}."""
    working, stopped = asyncio.Event(), asyncio.Event()

    async def work(_: Json) -> Any:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("work", work), gives("one", 1))) as agent:
        fake.turn(ToolCall("c1", "work", "{}"), ToolCall("c2", "one", "{}", index=1), *END)
        async with reading(agent) as reader:
            await working.wait()
            await reader.until(b"event: tool_result\n")
            await cancelled(agent, reader.run_id)
            events = checked(await reader.rest())
        assert stopped.is_set()
    results = {data["tool_call_id"]: data["is_error"] for data in only(events, "tool_result")}
    assert results == {"c2": False, "c1": True}
    assert names(events)[-2:] == ["tool_result", "complete"]
    assert complete(events)["status"] == "cancelled"
    assert not only(events, "error")


async def test_a_tool_that_ignores_cancellation_does_not_hold_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """The run ends within two seconds; what the tool gives afterwards is lost, and nobody takes it for a failure."""
    working, release, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn(_: Json) -> Any:
        working.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        over.set()
        return "too late"

    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("stubborn", stubborn))) as agent:
        fake.turn(ToolCall("c1", "stubborn", "{}"), *END)
        async with reading(agent) as reader:
            await working.wait()
            [run] = [task for task in asyncio.all_tasks() if task.get_name() == reader.run_id]
            async with asyncio.timeout(2):
                await cancelled(agent, reader.run_id)
                events = checked(await reader.rest())
        release.set()
        await over.wait()
        await asyncio.wait({run})
        assert run.cancelled()
        assert await agent.events(reader.run_id) == events
    assert [data["is_error"] for data in only(events, "tool_result")] == [True]
    assert complete(events)["status"] == "cancelled"
    assert "failed" not in caplog.text


async def test_a_tool_that_fails_when_it_is_cancelled() -> None:
    """Its own error, raised in place of the cancellation, does not turn the cancelled run into a failed one."""
    working = asyncio.Event()

    async def touchy(_: Json) -> Any:
        working.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError from None

    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("touchy", touchy))) as agent:
        fake.turn(ToolCall("c1", "touchy", "{}"), *END)
        async with reading(agent) as reader:
            await working.wait()
            await cancelled(agent, reader.run_id)
            events = checked(await reader.rest())
    assert [data["is_error"] for data in only(events, "tool_result")] == [True]
    assert complete(events)["status"] == "cancelled"


@pytest.mark.parametrize("failure", [ErrorData({"error": {"message": "no"}}), EndBody()])
async def test_a_run_that_fails_in_the_middle_of_a_call(failure: Step) -> None:
    """No call of an answer that failed is told or run, also not one that looks whole."""
    one = gives("one", 1)
    async with FakeDedalus() as fake, service(fake.url, named(one)) as agent:
        fake.turn(ToolCall("c1", "one", "{}"), Text("Hm."), ToolCall("c2", "one", '{"a"', index=1), failure)
        events = await agent.stream({"input": "?"})
    assert {delta["tool_call_id"] for delta in only(events, "tool_use_delta")} == {"c1", "c2"}
    assert only(events, "tool_use") == only(events, "tool_result") == one.heard == []
    assert complete(events)["status"] == "failed"


async def test_a_second_turn_that_fails_keeps_the_first() -> None:
    """The first step with its result stands, its usage counts, and the second is left unfinished."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("one", 1))) as agent:
        fake.turn(ToolCall("c1", "one", "{}"), Finish("tool_calls", Usage(1, 2, 3)), Done())
        fake.turn(Text("So"), EndBody())
        events = await agent.stream({"input": "?"})
    assert told(events) == {"c1": "1"}
    assert [step["step"] for step in only(events, "step_finished")] == [1]
    assert (complete(events)["steps"], complete(events)["usage"]["total_tokens"]) == (2, 3)
