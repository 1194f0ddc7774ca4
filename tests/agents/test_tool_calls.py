"""The calls of a model, of our tools and the upstream's: their results, and a run that ends in the middle of one."""

import asyncio
import json
from typing import Any

import pytest
from agent_turns import END, MCP, calls_of, complete, hosted, result_by_call, results_of
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import LocalTool, added, gives, named
from run_readers import reading
from service import EXECUTE, Service, checked, names, only, service
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
    Step,
    Text,
    ToolCall,
    Usage,
    WaitFor,
    answer,
)

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio


# Our own tools


async def test_arguments_are_reported_while_the_model_writes_them(lend: Lend) -> None:
    """The first piece of the arguments is read before the upstream has sent the second; then comes the call, once."""
    gate = Gate()
    add = LocalTool("add", added)
    async with lend(named(add)) as (fake, agent):
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


CACHED: Json = {"cache_control": {"type": "ephemeral"}}
"""A key that a model server adds to a call, and wants back."""
OPENING: Json = {"index": 1, "id": "c2", "type": "function", "function": {"name": "two", "arguments": ""}} | CACHED
TWO_CALLS = (
    Text("Let me see."),
    ToolCall("c1", "one", '{"x": ', '"ö"}', thought_signature="c2ln"),
    RawChunk({"choices": [{"delta": {"tool_calls": [OPENING]}}]}),
    *END,
)
"""A turn with two calls, in pieces."""
CALLED: Json = {
    "role": "assistant",
    "content": "Let me see.",
    "tool_calls": [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "one", "arguments": '{"x": "ö"}'},
            "thought_signature": "c2ln",
        },
        {"id": "c2", "type": "function", "function": {"name": "two", "arguments": "{}"}} | CACHED,
    ],
}
"""The same turn as a message of the next request."""


async def test_the_second_request_is_what_openai_wants(lend: Lend) -> None:
    """The assistant's message with every call and its extra keys, then each result in the model's order."""
    two_is_done = asyncio.Event()

    async def one(_: Json) -> Any:
        await two_is_done.wait()
        return {"sum": 3, "name": "Zoë"}

    async def two(_: Json) -> Any:
        two_is_done.set()
        return "plain"

    async with lend(named(LocalTool("one", one), LocalTool("two", two))) as (fake, agent):
        fake.turn(*TWO_CALLS)
        fake.turn(*answer("Done"))
        events = await agent.stream({"input": "?", "instructions": "Be brief.", "temperature": 0})
        first, second = fake.chats
    results = [
        {"role": "tool", "tool_call_id": "c1", "content": '{"sum":3,"name":"Zoë"}'},
        {"role": "tool", "tool_call_id": "c2", "content": "plain"},
    ]
    assert [data["tool_call_id"] for data in only(events, "tool_result")] == ["c2", "c1"]
    assert second.body == first.body | {"messages": [*first.body["messages"], CALLED, *results]}
    assert only(events, "final_output") == [{"content": "Done"}]


async def test_a_turn_without_text_has_null_content(lend: Lend) -> None:
    """An assistant message with calls and no text says null, which every server takes."""
    async with lend(named(gives("one", 1))) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("ok"))
        await agent.stream({"input": "?"})
        assert fake.chats[1].body["messages"][1]["content"] is None


async def test_the_model_is_offered_the_tools(fake: FakeDedalus, shared: Service) -> None:
    """Each request offers every tool with its schema; without tools it says nothing of them."""
    tools = named(gives("one", 1), gives("two", 2))
    async with FakeDedalus() as other, service(other.url, tools) as agent:
        other.turn(*answer("ok"))
        await agent.stream({"input": "?"})
        [request] = other.chats
    assert request.body["tools"] == [
        {
            "type": "function",
            "function": {"name": name, "description": tool.description, "parameters": tool.parameters},
        }
        for name, tool in tools.items()
    ]
    fake.turn(*answer("ok"))
    await shared.stream({"input": "?"})
    assert "tools" not in fake.chats[0].body


async def test_tools_run_at_the_same_time(lend: Lend) -> None:
    """Three calls that wait for one another end only because each of them was started."""
    barrier = asyncio.Barrier(3)

    async def meet(_: Json) -> Any:
        async with asyncio.timeout(5):
            return await barrier.wait() >= 0

    async with lend(named(LocalTool("meet", meet))) as (fake, agent):
        fake.turn(*[ToolCall(f"c{place}", "meet", "{}", index=place) for place in range(3)], *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert result_by_call(events) == {"c0": "true", "c1": "true", "c2": "true"}


async def test_a_call_is_reported_before_it_runs_and_each_result_as_it_comes(lend: Lend) -> None:
    """While the first tool still works, a reader has seen both calls and the second one's result."""
    release = asyncio.Event()

    async def slow(_: Json) -> Any:
        await release.wait()
        return "slow"

    tools = named(LocalTool("slow", slow), gives("fast", "quick"))
    async with lend(tools) as (fake, agent):
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


async def test_a_tool_that_raises_is_an_error_that_the_model_sees(caplog: pytest.LogCaptureFixture, lend: Lend) -> None:
    """The run continues; what the tool raised stays in the server's log, except for its type."""
    async with lend(named(gives("one", ValueError("secret")))) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
        [(_, heard)] = results_of(fake.chats[1])
    [result] = only(events, "tool_result")
    assert result["is_error"]
    assert heard == result["content"] == "The tool failed with ValueError."
    assert complete(events)["status"] == "succeeded"
    assert "ValueError: secret" in caplog.text


async def test_a_tool_whose_own_work_was_cancelled_has_failed(lend: Lend) -> None:
    """CancelledError out of a tool, when nobody cancels the run, is the tool's failure and no end without a result."""
    async with lend(named(gives("one", asyncio.CancelledError()))) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
    [result] = only(events, "tool_result")
    assert result["is_error"]
    assert complete(events)["status"] == "succeeded"


@pytest.mark.parametrize("result", [object(), {"deep": [object()]}])
async def test_a_result_that_is_no_json_is_the_tool_s_failure(result: Any, lend: Lend) -> None:
    """A tool that returns something other than a JSON value has failed, and the run continues."""
    async with lend(named(gives("one", result))) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
    [told_result] = only(events, "tool_result")
    assert told_result["is_error"]
    assert complete(events)["status"] == "succeeded"


@pytest.mark.parametrize("result", ["a\ud83d", {"a\udc00": ["\ud83d\ude00"]}])
async def test_half_a_surrogate_pair_in_a_result_is_mended(result: Any, lend: Lend) -> None:
    """Text that a tool read with the wrong encoding is still reported, with U+FFFD for bytes that are no character."""
    async with lend(named(gives("one", result))) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
        [(_, heard)] = results_of(fake.chats[1])
    expected = "a\ufffd" if isinstance(result, str) else '{"a\ufffd":["😀"]}'
    assert result_by_call(events) == {"c1": expected}
    assert heard == expected


@pytest.mark.parametrize(
    "written", ['{"a":', "[1]", '"x"', "1", "no JSON", '{"a":NaN}', '{"a":1e400}', '{"a":1}{"b":2}', "[" * 2000]
)
async def test_arguments_that_are_no_object_are_an_error_that_the_model_sees(written: str, lend: Lend) -> None:
    """They are reported as text beside empty arguments; the tool is not run, and the model gets an error."""
    one = gives("one", 1)
    async with lend(named(one)) as (fake, agent):
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
async def test_arguments_reach_the_tool_as_they_are_reported(
    pieces: tuple[str, ...], arguments: Json, lend: Lend
) -> None:
    """No text at all means none; surrogate pairs cut in two are joined, and half ones replaced."""
    one = gives("one", 1)
    async with lend(named(one)) as (fake, agent):
        fake.turn(ToolCall("c1", "one", *pieces), *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert [use["arguments"] for use in only(events, "tool_use")] == one.heard == [arguments]


@pytest.mark.parametrize("depth", [100, 300, 900])
@pytest.mark.parametrize("half", ["", "\\ud83d"])
async def test_deeply_nested_arguments_do_not_break_the_run(depth: int, half: str, lend: Lend) -> None:
    """A value that nests deeper than readers are known to read is refused, and the run succeeds, also as JSON."""
    written = '{"a":' + "[" * depth + f'"{half}"' + "]" * depth + "}"
    async with lend(named(gives("one", 1))) as (fake, agent):
        for _ in range(2):
            fake.turn(ToolCall("c1", "one", written), *END)
            fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
        folded = await agent.post(EXECUTE, {"input": "?"})
    assert only(events, "tool_use")[0]["invalid_arguments"] == written
    assert complete(events)["status"] == folded.json()["status"] == "succeeded"


# Tools that the upstream runs itself


@pytest.mark.parametrize("choices_empty", [True, False])
async def test_a_hosted_call_and_its_result(choices_empty: bool, fake: FakeDedalus, shared: Service) -> None:
    """The upstream's own call is reported with its server and its result; there is no second request."""
    result = hosted("search", {"q": "x"}, {"hits": [1, 2]}, duration_ms=321, server_name="tsion/exa")
    fake.turn(
        ToolCall("c1", "search", '{"q"', ':"x"}'),
        McpResults([result], choices_empty),
        Text("Found."),
        Finish(),
        Done(),
    )
    events = await shared.stream(MCP)
    assert len(fake.chats) == 1
    label = {"tool_call_id": "c1", "name": "search"}
    mcp = {"source": "mcp", "server": "tsion/exa"}
    assert only(events, "tool_use") == [label | mcp | {"arguments": {"q": "x"}}]
    assert only(events, "tool_result") == [
        label | {"content": '{"hits":[1,2]}', "is_error": False, "duration_ms": 321, "truncated": False}
    ]
    assert only(events, "final_output") == [{"content": "Found."}]


async def test_a_hosted_result_of_an_odd_form_loses_no_answer(fake: FakeDedalus, shared: Service) -> None:
    """A result without a tool's name is that of the waiting call, or of an unnamed one; what is no result is none."""
    results = [{"arguments": '{"q":"x"}', "result": "X"}, None, "odd", {"tool_name": None, "result": "Y"}]
    fake.turn(
        *(ToolCall("c1", "search", '{"q":"x"}'), RawChunk({"choices": [], "mcp_tool_results": results})),
        *(Text("Found."), Finish(), Done()),
    )
    events = await shared.stream(MCP)
    assert [(given["name"], given["content"]) for given in only(events, "tool_result")] == [
        ("search", "X"),
        ("unnamed", "Y"),
    ]
    assert only(events, "final_output") == [{"content": "Found."}]


async def test_results_of_one_name_are_matched_by_their_arguments(fake: FakeDedalus, shared: Service) -> None:
    """Two calls of one tool get each their own result, in whatever order the results come."""
    results = [hosted("search", {"q": "b"}, "B"), hosted("search", {"q": "a"}, "A")]
    fake.turn(
        ToolCall("c1", "search", '{"q":"a"}'),
        ToolCall("c2", "search", '{"q":"b"}', index=1),
        McpResults(results),
        Text("ok"),
        Finish(),
        Done(),
    )
    assert result_by_call(await shared.stream(MCP)) == {"c1": "A", "c2": "B"}


async def test_results_of_the_same_arguments_go_to_the_calls_in_order(fake: FakeDedalus, shared: Service) -> None:
    """The same call twice: the first result is the first call's; other arguments than any call's go to what is left."""
    results = [hosted("search", {"q": "a"}, "1"), hosted("search", {"q": "a"}, "2"), hosted("search", {"q": "?"}, "3")]
    calls = [ToolCall(f"c{n}", "search", '{"q":"a"}', index=n) for n in range(3)]
    fake.turn(*calls, McpResults(results), Text("ok"), Finish(), Done())
    assert result_by_call(await shared.stream(MCP)) == {"c0": "1", "c1": "2", "c2": "3"}


async def test_a_result_without_a_call_is_reported_with_one(fake: FakeDedalus, shared: Service) -> None:
    """Dedalus may run a tool without streaming its call: the call is reported from the result."""
    failed = hosted("fetch", {"url": "x"}, "timeout", is_error=True, server_name="tsion/exa")
    fake.turn(McpResults([failed]), Text("Sorry"), Finish(), Done())
    events = await shared.stream({"input": "?"})
    [use], [result] = only(events, "tool_use"), only(events, "tool_result")
    assert (use["name"], use["arguments"], use["source"], use["server"]) == ("fetch", {"url": "x"}, "mcp", "tsion/exa")
    assert (result["tool_call_id"], result["content"], result["is_error"]) == (use["tool_call_id"], "timeout", True)


async def test_a_hosted_call_without_a_result_is_never_sent_again(fake: FakeDedalus, shared: Service) -> None:
    """Server-side calls alone end the run, though there is no text and the finish reason says tool_calls."""
    fake.turn(ToolCall("c1", "search", "{}"), *END)
    events = await shared.stream(MCP)
    assert len(fake.chats) == 1
    assert result_by_call(events) == {"c1": ""}
    assert complete(events)["status"] == "succeeded"
    assert complete(events)["finish_reason"] == "tool_calls"


async def test_results_after_the_finish_reason_are_not_lost(fake: FakeDedalus, shared: Service) -> None:
    """A last chunk with results and no choices, which comes after the finish reason in a read of its own, counts."""
    late = McpResults([hosted("search", {"q": "x"}, "late")])
    fake.turn(ToolCall("c1", "search", '{"q":"x"}'), Pause(0.05), Finish(), Pause(0.05), late, Pause(0.05), Done())
    events = await shared.stream(MCP)
    assert result_by_call(events) == {"c1": "late"}


async def test_a_hosted_tool_with_a_local_tool_s_name(lend: Lend) -> None:
    """A result that the upstream reports for its own call belongs to it, also when we have a tool of that name."""
    search = gives("search", "ours")
    async with lend(named(search)) as (fake, agent):
        fake.turn(McpResults([hosted("search", {"q": "x"}, "theirs")]), Text("ok"), Finish(), Done())
        events = await agent.stream(MCP)
        assert len(fake.chats) == 1
    assert list(result_by_call(events).values()) == ["theirs"]
    assert [use["source"] for use in only(events, "tool_use")] == ["mcp"]
    assert search.heard == []


async def test_local_and_hosted_calls_in_one_turn(lend: Lend) -> None:
    """Ours is run, theirs is not; the second request has both calls with both results, in the model's order."""
    add = LocalTool("add", added)
    async with lend(named(add)) as (fake, agent):
        fake.turn(
            ToolCall("c1", "search", '{"q":"x"}'),
            ToolCall("c2", "add", '{"a":1,"b":2}', index=1),
            McpResults([hosted("search", {"q": "x"}, ["hit"])]),
            *END,
        )
        fake.turn(*answer("ok"))
        events = await agent.stream(MCP)
        second = fake.chats[1]
    assert result_by_call(events) == {"c1": '["hit"]', "c2": "3"}
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
async def test_where_a_call_comes_from(
    servers: list[str], source: str, server: str | None, fake: FakeDedalus, shared: Service
) -> None:
    """A call that isn't ours is the MCP server's where one was asked for, by name where there is one; else hosted."""
    fake.turn(ToolCall("c1", "search", "{}"), Text("ok"), Finish(), Done())
    events = await shared.stream({"input": "?", "mcp_servers": servers})
    for data in only(events, "tool_use_delta") + only(events, "tool_use"):
        assert (data["source"], data.get("server")) == (source, server)


# A run that ends while tools are under way


async def cancelled(agent: Service, run_id: str) -> None:
    response = await agent.client.post(f"/api/agent/runs/{run_id}/cancel")
    assert response.status_code == 202


async def test_a_tool_under_way_is_cancelled_with_its_run(lend: Lend) -> None:
    """The tool hears of it, and its call has an error as its result before complete{cancelled}."""
    working, stopped = asyncio.Event(), asyncio.Event()

    async def work(_: Json) -> Any:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with lend(named(LocalTool("work", work), gives("one", 1))) as (fake, agent):
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


async def test_a_tool_that_ignores_cancellation_does_not_hold_the_end(
    caplog: pytest.LogCaptureFixture, lend: Lend
) -> None:
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

    async with lend(named(LocalTool("stubborn", stubborn))) as (fake, agent):
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


async def test_a_tool_that_fails_when_it_is_cancelled(lend: Lend) -> None:
    """Its own error, raised in place of the cancellation, does not turn the cancelled run into a failed one."""
    working = asyncio.Event()

    async def touchy(_: Json) -> Any:
        working.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError from None

    async with lend(named(LocalTool("touchy", touchy))) as (fake, agent):
        fake.turn(ToolCall("c1", "touchy", "{}"), *END)
        async with reading(agent) as reader:
            await working.wait()
            await cancelled(agent, reader.run_id)
            events = checked(await reader.rest())
    assert [data["is_error"] for data in only(events, "tool_result")] == [True]
    assert complete(events)["status"] == "cancelled"


@pytest.mark.parametrize("failure", [ErrorData({"error": {"message": "no"}}), EndBody()])
async def test_a_run_that_fails_in_the_middle_of_a_call(failure: Step, lend: Lend) -> None:
    """No call of an answer that failed is reported or run, also not one that looks whole."""
    one = gives("one", 1)
    async with lend(named(one)) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), Text("Hm."), ToolCall("c2", "one", '{"a"', index=1), failure)
        events = await agent.stream({"input": "?"})
    assert {delta["tool_call_id"] for delta in only(events, "tool_use_delta")} == {"c1", "c2"}
    assert only(events, "tool_use") == only(events, "tool_result") == one.heard == []
    assert complete(events)["status"] == "failed"


async def test_a_second_turn_that_fails_keeps_the_first(lend: Lend) -> None:
    """The first step with its result stands, its usage counts, and the second is left unfinished."""
    async with lend(named(gives("one", 1))) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), Finish("tool_calls", Usage(1, 2, 3)), Done())
        fake.turn(Text("So"), EndBody())
        events = await agent.stream({"input": "?"})
    assert result_by_call(events) == {"c1": "1"}
    assert [step["step"] for step in only(events, "step_finished")] == [1]
    assert (complete(events)["steps"], complete(events)["usage"]["total_tokens"]) == (2, 3)
