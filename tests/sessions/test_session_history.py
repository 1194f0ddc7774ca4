"""Tests what a page needs to show an opened session: the parts of each turn, and the status of each run."""

from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import LocalTool, added, named
from pydantic import TypeAdapter
from run_readers import reading
from service import service
from session_calls import RUNS, SESSIONS, ask, get, messages
from wire import Cut, Done, Finish, Gate, Stall, Text, Thinking, ToolCall, Usage, WaitFor, answer

from event_data import PartialOutput, StepStarted, ToolResult, ToolUse
from event_data import Thinking as Thought
from events import EVENT_TYPES, StreamEvent
from services.agents.conversation import following, from_session, tokens
from services.intake.work import MOST_MESSAGES, HistorySize
from services.runs.projection import MOST_PARTS, Transcript, question

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

NOON = "2026-11-27T12:00:00.000Z"
EVENT: TypeAdapter[StreamEvent] = TypeAdapter(StreamEvent)
PLACE = {"message_id", "parent_id", "run_id"}


def parts(conversation: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages without the fields that place them in the session."""
    return [{name: value for name, value in message.items() if name not in PLACE} for message in conversation]


async def test_a_turn_s_parts_belong_to_their_messages() -> None:
    """Thinking, text, calls and results are stored in their turn's messages, and the next turn doesn't change them."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(
            Thinking("I have ", "to add."),
            Text("Let me see."),
            ToolCall("c", "add", '{"a":1,"b":2}'),
            Finish("tool_calls"),
            Done(),
        )
        fake.turn(Thinking("That was easy."), *answer("It is 3."))
        fake.turn(*answer("You are welcome."))
        await ask(agent, "1 + 2?")
        first = await messages(agent)
        await ask(agent, "Thanks!")
        second = await messages(agent)
    done = {"status": "succeeded", "answered_by": "test/model"}
    call = {"tool_call_id": first[2]["tool_call_id"], "name": "add", "arguments": {"a": 1, "b": 2}, "source": "python"}
    assert parts(first) == [
        {"role": "user", "content": "1 + 2?"} | done,
        {
            "role": "assistant",
            "thinking": "I have to add.",
            "content": "Let me see.",
            "tool_calls": [call | {"result": "3", "is_error": False}],
        }
        | done,
        {"role": "tool", "content": "3", "tool_call_id": call["tool_call_id"], "is_error": False} | done,
        {"role": "assistant", "thinking": "That was easy.", "content": "It is 3."} | done,
    ]
    assert second[: len(first)] == first
    assert "thinking" not in str(fake.chats[2].body["messages"])


async def test_a_run_that_did_not_succeed_says_so_in_its_messages(lend: Lend) -> None:
    """Failed and cancelled turns, with and without an answer, carry their run's status and error after a reload."""
    async with lend() as (fake, agent):
        fake.turn(Thinking("Hm."), Text("I was about"), Cut())
        await ask(agent, "First?")
        fake.turn(Thinking("Hm."), Stall())
        async with reading(agent, session_id="chat") as reader:
            await reader.until(b'"Hm."')
            await agent.client.post(f"{RUNS}/{reader.run_id}/cancel")
            await reader.rest()
        conversation = await messages(agent)
        failed = await get(agent, f"{RUNS}/{conversation[0]['run_id']}")
        session = await get(agent, f"{SESSIONS}/chat")
    assert [message["status"] for message in conversation] == ["failed", "failed", "cancelled", "cancelled"]
    assert [message.get("error") for message in conversation] == [failed["error"], failed["error"], None, None]
    assert parts(conversation)[3] == {
        "role": "assistant",
        "thinking": "Hm.",
        "content": None,
        "status": "cancelled",
        "answered_by": "test/model",
    }
    assert session["status"] == "cancelled"


async def test_an_opened_session_shows_which_runs_are_under_way(lend: Lend) -> None:
    """The session has the questions of running, suspended and queued runs, each with its run's id and status."""
    gate = Gate()
    call = ToolCall("c", "pick", "{}")
    pick = {"name": "pick", "description": "Picks.", "parameters": {"type": "object"}}
    async with lend() as (fake, agent):
        fake.turn(Text("one"), WaitFor(gate), call, Finish("tool_calls"), Done())
        async with reading(agent, session_id="chat", client_tools=[pick]) as reader:
            await reader.until(b'"one"')
            await agent.post(RUNS, {"input": "Two?", "session_id": "chat", "multitask": "enqueue"})
            running = await messages(agent)
            gate.open()
            await reader.until(b"event: waiting")
            waiting = await messages(agent)
            session = await get(agent, f"{SESSIONS}/chat")
            [listed] = (await get(agent, SESSIONS))["sessions"]
    assert [message["status"] for message in running] == ["running", "queued"]
    assert [message["status"] for message in waiting] == ["waiting", "queued"]
    assert waiting[0]["run_id"] == reader.run_id
    assert (session["status"], session["head_run_id"]) == ("queued", waiting[1]["run_id"])
    assert listed == session


async def test_a_session_sums_up_the_usage_of_its_runs(lend: Lend) -> None:
    """Usage covers all branches and failed runs.

    Counts that no run reports stay null, and a new session has no status.
    """
    async with lend() as (fake, agent):
        made = await agent.client.post(SESSIONS, json={"session_id": "chat"})
        fake.turn(Text("A."), Finish("stop", Usage(1, 2, 3, cached=1)), Done())
        fake.turn(Text("B."), Finish("stop", Usage(10, 20, 30)), Done())
        first = (await ask(agent, "One?"))[0]["run_id"]
        await ask(agent, "One?", parent_run_id=first, parent_state="before")
        session = await get(agent, f"{SESSIONS}/chat")
    nothing = {"input_tokens": None, "output_tokens": None, "total_tokens": None}
    assert made.json()["usage"] == nothing
    assert "status" not in made.json()
    assert session["usage"] == {"input_tokens": 11, "output_tokens": 22, "total_tokens": 33, "cached_input_tokens": 1}
    assert session["status"] == "succeeded"


async def test_thinking_between_texts_keeps_its_place(lend: Lend) -> None:
    """Text, thinking and text again are two messages for readers, and one for the model."""
    async with lend() as (fake, agent):
        fake.turn(Text("A"), Thinking("hm"), *answer("B"))
        fake.turn(*answer("C"))
        await ask(agent, "One?")
        await ask(agent, "Two?")
        conversation = await messages(agent)
    shown = [(message.get("thinking"), message["content"]) for message in conversation]
    assert shown == [(None, "One?"), (None, "A"), ("hm", "B"), (None, "Two?"), (None, "C")]
    assert [message["content"] for message in fake.chats[1].body["messages"]] == ["One?", "AB", "Two?"]


def called(call_id: str) -> ToolUse:
    return ToolUse(tool_call_id=call_id, name="f", arguments={}, source="hosted")


def result(call_id: str) -> ToolResult:
    return ToolResult(tool_call_id=call_id, name="f", content="ok", is_error=False, truncated=False)


def say(text: str) -> PartialOutput:
    return PartialOutput(content=text)


STEP = StepStarted(step=1, model="m")
MADE = [called("a"), result("a")]


@pytest.mark.parametrize(
    ("events", "shown", "sent"),
    [
        ([], [], []),
        ([STEP, Thought(content="x")], [("x", None, 0)], []),
        ([STEP, Thought(content="x"), say("y")], [("x", "y", 0)], [("y", 0)]),
        ([STEP, say("y"), Thought(content="x"), *MADE], [(None, "y", 0), ("x", None, 1)], [("y", 1)]),
        ([STEP, Thought(content="x"), *MADE, say("y")], [("x", None, 1), (None, "y", 0)], [(None, 1), ("y", 0)]),
        ([STEP, *MADE, Thought(content="x"), say("y")], [(None, None, 1), ("x", "y", 0)], [(None, 1), ("y", 0)]),
        ([STEP, say("y"), Thought(content="x")], [(None, "y", 0), ("x", None, 0)], [("y", 0)]),
        ([STEP, *MADE, STEP, Thought(content="x")], [(None, None, 1), ("x", None, 0)], [(None, 1)]),
        (
            [STEP, called("a"), Thought(content="x"), called("b"), result("a"), result("b")],
            [("x", None, 2)],
            [(None, 2)],
        ),
    ],
)
def test_the_order_of_an_answer(events: list[Any], shown: list[Any], sent: list[Any]) -> None:
    """Thinking after text or results begins a new message.

    For the model, messages are joined where the order allows.
    """
    answered = Transcript("run_1")
    for seq, data in enumerate(events, start=1):
        event = {"event": EVENT_TYPES[type(data)], "run_id": "run_1", "seq": seq, "timestamp": NOON, "data": data}
        answered.add(EVENT.validate_python(event))
    stored = answered.messages()
    said = [message for message in stored if message.role == "assistant"]
    assert [(m.thinking, m.content, len(m.tool_calls or ())) for m in said] == shown
    wire = [message for message in from_session([question("run_1", "?"), *stored]) if message["role"] == "assistant"]
    assert [(message["content"], len(message.get("tool_calls", ()))) for message in wire] == sent


def test_thinking_and_text_by_turns_are_a_bounded_number_of_messages() -> None:
    """An answer that alternates between thinking and text loses nothing, and is stored in a bounded number of
    messages.
    """
    answered = Transcript("run_1")
    for seq in range(4 * MOST_PARTS):
        data: PartialOutput | Thought = say("y") if seq % 2 else Thought(content="x")
        event = {"event": EVENT_TYPES[type(data)], "run_id": "run_1", "seq": seq + 1, "timestamp": NOON, "data": data}
        answered.add(EVENT.validate_python(event))
    stored = answered.messages()
    assert len(stored) == MOST_PARTS
    assert "".join(m.thinking or "" for m in stored) == "x" * 2 * MOST_PARTS
    assert "".join(str(m.content) for m in stored) == "y" * 2 * MOST_PARTS


def asked(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


REPLY = {"role": "assistant", "content": "Yes."}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}


@pytest.mark.parametrize(
    ("turns", "conversation"),
    [
        ([], []),
        ([[asked("a"), REPLY], [asked("b"), REPLY]], [asked("a"), REPLY, asked("b"), REPLY]),
        ([[asked("a")], [asked("b")], [asked("c"), REPLY]], [asked("a\n\nb\n\nc"), REPLY]),
        ([[asked("a"), REPLY], [asked("b")], [asked("c")]], [asked("a"), REPLY, asked("b\n\nc")]),
        ([[asked([IMAGE])], [asked("b")]], [asked([IMAGE, {"type": "text", "text": "b"}])]),
    ],
)
def test_unanswered_questions_join_the_next_one(turns: list[Any], conversation: list[Any]) -> None:
    """Any number of unanswered questions, texts or parts, join the next one, also at the end of the history."""
    assert following(turns) == conversation


@pytest.mark.parametrize(
    ("max_tokens", "messages", "reason"),
    [
        (None, MOST_MESSAGES, None),
        (None, MOST_MESSAGES + 1, f"at most {MOST_MESSAGES} messages are sent"),
        (9, 1, None),
        (8, 1, "the model's context is full"),
    ],
)
async def test_a_history_is_limited(max_tokens: int | None, messages: int, reason: str | None) -> None:
    """History is limited by tokens where the model's limit is known, and by the number of messages."""
    size = HistorySize(max_tokens)
    await size.add([asked("four")] * messages)
    assert size.exceeded == reason


@pytest.mark.parametrize(("text", "size"), [("a", 1), ("é", 2), ("中", 3), ("😀", 4)])
async def test_long_texts_have_the_tokens_of_short_ones(text: str, size: int) -> None:
    """Tokens of a long text are estimated piece by piece, from its UTF-8."""
    assert await tokens([asked(text * 2_100_000)]) == 8 + 2_100_000 * size // 3
