"""Tool calls put together from the pieces that servers send, and those of an answer that was cut."""

import pytest
from agent_turns import END, MCP, calls_of, complete, hosted, result_by_call, results_of
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import LocalTool, added, gives, named
from service import STREAM, Service, checked, names, only, text
from wire import (
    Done,
    Finish,
    Json,
    McpResults,
    RawChunk,
    Text,
    Thinking,
    ToolCall,
    Usage,
    answer,
)

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio


# Ids and places of calls


async def test_missing_and_repeated_ids_are_replaced(lend: Lend) -> None:
    """Each call has an id of its own, in the events and in the second request, and gets its own result."""
    calls = [
        ToolCall(None, "add", '{"a":1,"b":1}', index=0),
        ToolCall("same", "add", '{"a":2,"b":2}', index=1),
        ToolCall("same", "add", '{"a":3,"b":3}', index=2),
    ]
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(*calls, *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
        second = fake.chats[1]
    ids = [data["tool_call_id"] for data in only(events, "tool_use")]
    assert len(set(ids)) == 3
    assert ids[1] == "same"
    assert [call["id"] for call in calls_of(second)] == ids
    assert results_of(second) == list(zip(ids, ["2", "4", "6"], strict=True))
    assert result_by_call(events) == dict(results_of(second))


async def test_an_id_repeated_in_a_later_turn_is_replaced(lend: Lend) -> None:
    """Servers that count their calls from 0 in each turn repeat ids; in a run each call has one of its own."""
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(ToolCall("call_0", "add", '{"a":1,"b":1}'), *END)
        fake.turn(ToolCall("call_0", "add", '{"a":2,"b":2}'), *END)
        fake.turn(*answer("ok"))
        response = await agent.post(STREAM, {"input": "?"})
        events = checked(response.content)
        third = fake.chats[2]
    assert sorted(result_by_call(events).values()) == ["2", "4"]
    assert [content for _, content in results_of(third)] == ["2", "4"]


@pytest.mark.parametrize("repeated", ["id", "name", "both"])
async def test_what_each_piece_of_a_call_repeats(repeated: str, lend: Lend) -> None:
    """Some servers send the id or the name with every piece: it is still one call."""
    call_id, name = ("c1" if repeated != "name" else None), ("add" if repeated != "id" else None)
    pieces = [ToolCall("c1", "add", '{"a":1'), ToolCall(call_id, name, ',"b"'), ToolCall(call_id, name, ":2}")]
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(*pieces, *END)
        fake.turn(*answer("ok"))
        assert result_by_call(await agent.stream({"input": "?"})) == {"c1": "3"}


async def test_a_new_id_without_a_name_is_the_same_call(lend: Lend) -> None:
    """Some servers make up another id for every piece of a call: only a name begins a new one."""
    pieces = [ToolCall("c1", "add", '{"a":1'), ToolCall("c1b", None, ',"b"'), ToolCall("c1c", None, ":2}")]
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(*pieces, *END)
        fake.turn(*answer("ok"))
        assert result_by_call(await agent.stream({"input": "?"})) == {"c1": "3"}


async def test_calls_without_an_index(lend: Lend) -> None:
    """Without an index, pieces belong to the call before, and a new call begins with its id and name."""
    calls = [
        ToolCall("c1", "add", '{"a":1,"b":1}', index=None),
        ToolCall("c2", "add", '{"a":2,', index=None),
        ToolCall(None, None, '"b":2}', index=None),
    ]
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(*calls, *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert result_by_call(events) == {"c1": "2", "c2": "4"}


@pytest.mark.parametrize("index", [None, 0])
async def test_whole_calls_without_ids_of_their_own(index: int | None, lend: Lend) -> None:
    """Whole calls without ids, all in one place: each is a call, since the one before was already complete."""
    calls = [ToolCall(None, "add", f'{{"a":{n},"b":{n}}}', index=index) for n in (1, 2)]
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(*calls, *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert sorted(result_by_call(events).values()) == ["2", "4"]


async def test_whole_calls_with_the_same_index_and_their_own_ids(lend: Lend) -> None:
    """Some servers give every call the index 0: an id of its own makes it another call."""
    calls = [ToolCall(f"c{n}", "add", f'{{"a":{n},"b":{n}}}', index=0) for n in (1, 2)]
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(*calls, *END)
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
        assert results_of(fake.chats[1]) == [("c1", "2"), ("c2", "4")]
    assert result_by_call(events) == {"c1": "2", "c2": "4"}


async def test_interleaved_calls_are_kept_apart(lend: Lend) -> None:
    """Pieces of two calls that come in turns go each to their own by the index."""
    pieces = [
        ToolCall("c1", "add", '{"a":1,'),
        ToolCall("c2", "add", '{"a":2,', index=1),
        ToolCall(None, None, '"b":1}'),
        ToolCall(None, None, '"b":2}', index=1),
    ]
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(*pieces, *END)
        fake.turn(*answer("ok"))
        assert result_by_call(await agent.stream({"input": "?"})) == {"c1": "2", "c2": "4"}


@pytest.mark.parametrize(
    "call",
    [
        {"index": 0, "id": "c1", "function": {"name": 5, "arguments": "{}"}},
        {"index": 0, "id": "c1", "function": {"name": ["add"], "arguments": "{}"}},
        {"index": "0", "id": "c1", "function": "add"},
    ],
)
async def test_calls_that_make_no_sense_are_the_upstream_s_fault(call: Json, lend: Lend) -> None:
    """A call with a name or a function of another kind is a broken upstream, not a bug here."""
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(Text("Hi"), RawChunk({"choices": [{"delta": {"tool_calls": [call]}}]}), *END)
        events = await agent.stream({"input": "?"})
    assert text(events) == "Hi"
    assert [error["code"] for error in only(events, "error")] == ["upstream_protocol"]


async def test_arguments_as_an_object(lend: Lend) -> None:
    """Some servers send the arguments as JSON and not as text."""
    call = {"index": 0, "id": "c1", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(RawChunk({"choices": [{"delta": {"tool_calls": [call]}}]}), *END)
        fake.turn(*answer("ok"))
        assert result_by_call(await agent.stream({"input": "?"})) == {"c1": "3"}


async def test_text_between_two_pieces_of_a_call(lend: Lend) -> None:
    """A call continues after text and reasoning, and is reported whole at the turn's end."""
    async with lend(named(LocalTool("add", added))) as (fake, agent):
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
    assert result_by_call(events) == {"c1": "3"}
    assert names(events)[:8] == [
        *("run_started", "step_started", "tool_use_delta", "partial_output", "thinking", "tool_use_delta"),
        *("partial_output", "tool_use"),
    ]
    assert called["content"] == "Adding. Wait."


async def test_calls_that_name_no_tool(lend: Lend) -> None:
    """One without a name and arguments is dropped; arguments without a name are an error that the model sees."""
    add = LocalTool("add", added)
    async with lend(named(add)) as (fake, agent):
        fake.turn(ToolCall("c1", None), ToolCall("c2", None, '{"a":1}', index=1), *END)
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
        [(call_id, heard)] = results_of(fake.chats[1])
    assert (call_id, heard) == ("c2", "Not run: this call named no tool.")
    assert [use["arguments"] for use in only(events, "tool_use")] == [{"a": 1}]
    assert [result["is_error"] for result in only(events, "tool_result")] == [True]
    assert add.heard == []
    assert complete(events)["status"] == "succeeded"


async def test_a_turn_of_nothing_but_a_nameless_piece(lend: Lend) -> None:
    """A value that is no call at all causes no other turn."""
    async with lend(named(gives("one", 1))) as (fake, agent):
        fake.turn(ToolCall("c1", None), *answer("Hi"))
        events = await agent.stream({"input": "?"})
    assert (text(events), only(events, "tool_use")) == ("Hi", [])


async def test_a_hosted_result_between_the_pieces_of_another_call(fake: FakeDedalus, shared: Service) -> None:
    """It belongs to its own call, which is reported then; the other one continues."""
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
    events = await shared.stream(MCP)
    assert result_by_call(events) == {"c1": "A", "c2": "B"}
    assert [use["arguments"] for use in only(events, "tool_use")] == [{"q": "a"}, {"q": "b"}]


# Calls of an answer that was cut


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "content_filter"])
async def test_no_call_of_a_cut_answer_is_run(reason: str, lend: Lend) -> None:
    """Whatever its arguments look like; the model gets an error, and can make the call again."""
    delete = gives("delete", "deleted")
    arguments = ["", '{"path":', '{"path":"."}']
    async with lend(named(delete)) as (fake, agent):
        for written in arguments:
            fake.turn(ToolCall(None, "delete", written), Finish(reason), Done())
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
        results = results_of(fake.chats[3])
    assert delete.heard == []
    assert all(heard.startswith(f"Not run: the answer was cut off ({reason})") for _, heard in results)
    assert [result["is_error"] for result in only(events, "tool_result")] == [True] * 3
    assert [step["finish_reason"] for step in only(events, "step_finished")] == [*[reason] * 3, "stop"]


async def test_the_first_call_of_a_cut_answer_is_not_run_either(lend: Lend) -> None:
    """The calls of one answer belong together, and the model hasn't finished them."""
    add = LocalTool("add", added)
    async with lend(named(add)) as (fake, agent):
        fake.turn(
            ToolCall("c1", "add", '{"a":1,"b":1}'), ToolCall("c2", "add", '{"a":', index=1), Finish("length"), Done()
        )
        fake.turn(*answer("Sorry"))
        events = await agent.stream({"input": "?"})
    assert add.heard == []
    assert [result["is_error"] for result in only(events, "tool_result")] == [True, True]


@pytest.mark.parametrize("tokens", [49, 50])
async def test_an_answer_that_used_up_its_tokens_was_cut(tokens: int, lend: Lend) -> None:
    """vLLM says `tool_calls` of it: the count shows what the reason doesn't."""
    one = gives("one", 1)
    async with lend(named(one)) as (fake, agent):
        fake.turn(ToolCall("c1", "one", "{}"), Finish("tool_calls", Usage(10, tokens, 60)), Done())
        fake.turn(*answer("ok"))
        await agent.stream({"input": "?", "max_tokens": 50})
    assert one.heard == ([{}] if tokens == 49 else [])


async def test_a_call_of_a_cut_answer_asks_nobody(fake: FakeDedalus, shared: Service) -> None:
    """A tool that waits for a person or for the page isn't asked for, since it wouldn't be run."""
    page = {"name": "confirm", "description": "Ask.", "parameters": {"type": "object", "properties": {}}}
    fake.turn(ToolCall("c1", "confirm", "{}"), Finish("length"), Done())
    fake.turn(*answer("Sorry"))
    events = await shared.stream({"input": "?", "client_tools": [page]})
    assert "waiting" not in names(events)
    assert complete(events)["status"] == "succeeded"
