"""Tests that reasoning, signatures and arguments are sent back unchanged, and to their provider alone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import LocalTool, added, gives, named
from run_readers import reading
from service import names, only, service
from session_calls import ask
from waiting_runs import decide, deletes, waits, whole
from wire import Done, Finish, Json, RawChunk, Status, Step, Text, Thinking, ToolCall, answer

from services.agents.checkpoint import Checkpoint
from services.agents.conversation import from_session, tokens
from services.runs.projection import question
from services.upstreams.corrections import corrected
from services.upstreams.providers import PROVIDERS
from services.upstreams.wire_rules import fitted
from session_models import FunctionCall, ProviderState, StoredMessage
from setting_objects import WireRules

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

END = [Finish("tool_calls"), Done()]
ADD = ToolCall("c1", "add", '{"a": 1, "b": 2}')
ENTRY = {"type": "reasoning.encrypted", "index": 0, "data": "c2VjcmV0", "format": "anthropic-claude-v1"}
SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln"}}}


def delta(**said: Any) -> RawChunk:
    return RawChunk({"choices": [{"index": 0, "delta": said}]})


def assistants(request: Any) -> list[Json]:
    """The assistant's messages of a request."""
    return [message for message in request.body["messages"] if message["role"] == "assistant"]


@pytest.mark.parametrize(
    ("steps", "back"),
    [
        ([Thinking("I should ", "add.")], {"reasoning_content": "I should add."}),
        ([delta(reasoning_content="")], {"reasoning_content": ""}),
        (
            [delta(reasoning="Add", reasoning_details=[ENTRY])],
            {"reasoning": "Add", "reasoning_details": [ENTRY]},
        ),
        ([delta(content="", **SIGNED)], SIGNED),
        (
            [delta(reasoning_text="Add"), delta(reasoning_opaque="b3BhcXVl")],
            {"reasoning_text": "Add", "reasoning_opaque": "b3BhcXVl"},
        ),
        (
            [delta(provider_specific_fields={"thought_signatures": ["c2ln"]})],
            {"provider_specific_fields": {"thought_signatures": ["c2ln"]}},
        ),
    ],
    ids=["reasoning_content", "empty", "details", "signature", "opaque", "of LiteLLM"],
)
async def test_reasoning_goes_back_with_its_calls(steps: list[Step], back: Json, lend: Lend) -> None:
    """In the next request of the run, and in that of the session's next run, with the arguments byte for byte."""
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(*steps, ADD, *END)
        fake.turn(*answer("It is 3."))
        fake.turn(*answer("You are welcome."))
        await ask(agent, "1 + 2?")
        await ask(agent, "Thanks!")
        _, second, third = fake.chats
    for request in (second, third):
        called = assistants(request)[0]
        assert {key: called.get(key) for key in back} == back
        assert called["tool_calls"][0]["function"]["arguments"] == '{"a": 1, "b": 2}'


async def test_signatures_of_calls_and_the_reasoning_of_an_answer(lend: Lend) -> None:
    """Each call keeps its own signature in later runs; an answer without calls keeps its reasoning."""
    calls = [
        {
            "index": n,
            "id": f"c{n}",
            "function": {"name": "one", "arguments": "{}", "provider_specific_fields": {"n": n}},
            "extra_content": {"n": n},
        }
        for n in range(2)
    ]
    async with lend(named(gives("one", 1))) as (fake, agent):
        fake.turn(delta(tool_calls=calls), *END)
        fake.turn(Thinking("Easy."), *answer("Done."))
        fake.turn(*answer("Bye."))
        await ask(agent, "?")
        await ask(agent, "Thanks!")
    called, done = assistants(fake.chats[2])
    for same in (called, assistants(fake.chats[1])[0]):
        assert [call["extra_content"] for call in same["tool_calls"]] == [{"n": 0}, {"n": 1}]
        assert [call["function"]["provider_specific_fields"] for call in same["tool_calls"]] == [{"n": 0}, {"n": 1}]
        assert [call["function"]["arguments"] for call in same["tool_calls"]] == ["{}", "{}"]
    assert done == {"role": "assistant", "content": "Done.", "reasoning_content": "Easy."}


async def test_another_provider_gets_none_of_it(lend: Lend) -> None:
    """A model of another provider behind the same server gets the conversation alone; the first one all of it again."""
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        function = {"name": "add", "arguments": '{"a": 1, "b": 2}', "provider_specific_fields": {"sig": 1}}
        call = {"index": 0, "id": "c1", "function": function, "thought_signature": "sig"}
        fake.turn(Thinking("Add."), delta(tool_calls=[call]), *END)
        fake.always(*answer("Yes."))
        await ask(agent, "1 + 2?", model="deepseek/deepseek-chat")
        await ask(agent, "Sure?", model="openai/gpt-4.1")
        await ask(agent, "Sure?", model="deepseek/deepseek-reasoner")
    other, same = (assistants(request)[0] for request in fake.chats[2:])
    assert set(other) == {"role", "content", "tool_calls"}
    assert set(other["tool_calls"][0]) == {"id", "type", "function"}
    assert set(other["tool_calls"][0]["function"]) == {"name", "arguments"}
    assert same["reasoning_content"] == "Add."
    assert same["tool_calls"][0]["thought_signature"] == "sig"


async def test_a_provider_that_takes_no_reasoning() -> None:
    """Groq's own server refuses it, so it stays here, although it came from there."""
    async with FakeDedalus() as fake:
        providers = {"groq": PROVIDERS["groq"]._replace(url=f"{fake.url}/v1")}
        async with service(tools=named(gives("one", 1)), providers=providers, groq_api_key="k") as agent:
            fake.turn(delta(reasoning="Hm."), ToolCall("c1", "one", "{}"), *END)
            fake.turn(*answer("Done."))
            await agent.stream({"input": "?", "model": "groq/openai/gpt-oss-20b"})
    assert set(assistants(fake.chats[1])[0]) == {"role", "content", "tool_calls"}


async def test_over_a_wait(lend: Lend) -> None:
    """A run that waited for a person resumes with the reasoning and the arguments unchanged."""
    async with lend(named(deletes())) as (fake, agent):
        fake.turn(Thinking("Delete."), ToolCall("call_1", "delete", '{"folder": "drafts"}'), *END)
        fake.turn(*answer("Done."))
        async with reading(agent, require_approval=["delete"]) as reader:
            await waits(agent, reader.run_id)
            await decide(agent, reader.run_id)
            await whole(agent, reader.run_id)
    [called] = assistants(fake.chats[1])
    assert called["reasoning_content"] == "Delete."
    assert called["tool_calls"][0]["function"]["arguments"] == '{"folder": "drafts"}'


async def test_after_a_run_that_a_stop_interrupted(tmp_path: Path) -> None:
    """A call's state is stored when its tool begins: the session's next run has it, however this one ended."""
    working = asyncio.Event()

    async def work(_: Json) -> Any:
        working.set()
        await asyncio.Event().wait()

    async with FakeDedalus() as fake:
        fake.turn(Thinking("Work."), ToolCall("c1", "work", "{ }"), *END)
        fake.turn(*answer("Sorry."))
        tools = named(LocalTool("work", work))
        async with (
            service(fake.url, tools, data_dir=tmp_path, drain_s=3) as agent,
            reading(agent, session_id="chat"),
        ):
            await working.wait()
        async with service(fake.url, tools, data_dir=tmp_path) as agent:
            events = await ask(agent, "And?")
    assert names(events)[-1] == "complete"
    [called] = assistants(fake.chats[1])
    assert called["reasoning_content"] == "Work."
    assert called["tool_calls"][0]["function"]["arguments"] == "{ }"


# What a refusal teaches

MISSING = "The `reasoning_content` in the thinking mode must be passed back to the API."
REFUSED = {
    "Groq": "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property "
    "'reasoning_content' is unsupported)]",
    "Mistral": [{"type": "extra_forbidden", "loc": ["body", "messages", 1, "assistant", "reasoning_content"]}],
    "OpenAI": "Unknown parameter: 'messages[1].reasoning_content'.",
}
SENT: Json = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}
WITH_IT: Json = {"messages": [SENT["messages"][0], SENT["messages"][1] | {"reasoning_content": "Hm."}]}


@pytest.mark.parametrize("refusal", REFUSED.values(), ids=REFUSED)
def test_a_refusal_of_reasoning(refusal: Any) -> None:
    """It never goes to this model again."""
    rules = corrected(WireRules(), WITH_IT, 400, {"error": {"message": refusal}})
    assert rules is not None
    assert fitted(WITH_IT, rules) == SENT
    assert corrected(WireRules(), SENT, 400, {"error": {"message": refusal}}) is None


@pytest.mark.parametrize(
    "refusal",
    [
        MISSING,
        "Missing reasoning_content field in the assistant message at message index 2.",
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 13",
        "messages with tool_calls must include reasoning_content",
    ],
)
def test_a_refusal_of_messages_without_reasoning(refusal: str) -> None:
    """Each message of the model gets some, since the history may be another model's."""
    rules = corrected(WireRules(), SENT, 400, {"error": {"message": refusal}})
    assert rules is not None
    assert [m.get("reasoning_content") for m in fitted(SENT, rules)["messages"]] == [None, " "]
    assert fitted(WITH_IT, rules) == WITH_IT


async def test_a_session_that_continues_with_a_thinking_model(lend: Lend) -> None:
    """The refusal costs one more request, and the run succeeds; the next one knows."""
    async with lend() as (fake, agent):
        fake.turn(*answer("Hi."))
        await ask(agent, "Hello", model="openai/gpt-4.1")
        fake.turn(Status(400, {"error": {"message": MISSING, "type": "invalid_request_error"}}))
        fake.always(*answer("Yes."))
        first = await ask(agent, "Sure?", model="deepseek/deepseek-reasoner")
        await ask(agent, "Sure?", model="deepseek/deepseek-reasoner")
    assert only(first, "complete")[0]["status"] == "succeeded"
    assert [[m.get("reasoning_content") for m in assistants(chat)] for chat in fake.chats[1:]] == [
        [None],
        [" "],
        [" ", " "],
    ]


# The history


async def test_states_find_their_messages() -> None:
    """By the ids of calls, and by the run for its last answer; a step of several messages has its state once."""
    call = FunctionCall(tool_call_id="c1", name="search", arguments={"q": "x"})
    said = [
        question("run_1", "?"),
        StoredMessage(run_id="run_1", role="assistant", content="Let me see.", tool_calls=[call]),
        StoredMessage(run_id="run_1", role="tool", content="hit", tool_call_id="c1"),
        StoredMessage(run_id="run_1", role="assistant", content="Found."),
        question("run_2", "And?"),
        StoredMessage(run_id="run_2", role="assistant", content="Yes."),
        StoredMessage(run_id="run_2", role="assistant", content=None, thinking="Done, I think."),
    ]
    states = [
        ProviderState(run_id="run_1", step=1, family="f", message={"reasoning": "A"}, calls={"c1": {"sig": "s"}}),
        ProviderState(run_id="run_2", step=1, family="f", message={"reasoning": "B"}, calls={}),
    ]
    wire = from_session(said, states)
    assert [message.get("reasoning") for message in wire] == [None, "A", None, None, None, "B"]
    assert wire[1]["tool_calls"][0]["sig"] == "s"
    assert await tokens(wire) > await tokens(from_session(said))
    assert [message.get("reasoning") for message in from_session(said)] == [None] * 6


async def test_an_answer_without_anything_to_send_back_is_not_kept_twice(tmp_path: Path, lend: Lend) -> None:
    """Most models leave nothing but their text and calls: those cost no write."""
    async with lend(named(LocalTool("add", added))) as (fake, agent):
        fake.turn(Text("Adding."), ToolCall("c1", "add", '{"a":1,"b":2}'), *END)
        fake.always(*answer("It is 3."))
        await ask(agent, "1 + 2?")
        await ask(agent, "Sure?")
    called, _ = assistants(fake.chats[2])
    assert set(called) == {"role", "content", "tool_calls"}


# A run that waits

CALL: Json = {
    "upstream_id": "c1",
    "call_id": "c1",
    "name": "add",
    "source": "python",
    "server": None,
    "ours": True,
    "extra": {"sig": "s"},
    "arguments": {"a": 1},
}
LEFT: Json = {
    "messages": [{"role": "assistant", "content": "Hm.", "reasoning": "A"}],
    "step": 2,
    "text": "",
    "calls": [CALL],
    "call_ids": ["c1"],
    "finish_reason": "tool_calls",
    "usage": {"input_tokens": None, "output_tokens": None, "total_tokens": None},
    "correlation_id": None,
}


def test_a_run_that_an_earlier_version_left_off() -> None:
    """Its state can still be read, and whose it is isn't known: nothing of it is left out."""
    earlier = Checkpoint.model_validate({**LEFT, "calls": [{**CALL, "pieces": ['{"a":', "1}"]}]})
    assert earlier.for_family("deepseek//") == earlier
    assert earlier.calls[0].extra == {"sig": "s"}


def test_a_run_that_continues_with_another_provider() -> None:
    """The base URL can be another after a restart: what belongs to the former provider's server is left out."""
    left = Checkpoint.model_validate({**LEFT, "reasoning": {"reasoning": "B"}, "family": "custom/one.example/"})
    assert left.for_family("custom/one.example/") == left
    other = left.for_family("custom/two.example/")
    assert (other.messages, other.reasoning) == ([{"role": "assistant", "content": "Hm."}], {})
    assert (other.calls[0].extra, other.calls[0].arguments) == ({}, {"a": 1})
