"""Tests that nothing of a step counts that came before its `step_restarted`, wherever the run is read."""

from typing import Any

import pytest
from agent_stream.events import event_of
from agent_stream.transcript import Transcript as ClientTranscript
from grammar import check_grammar, parse_frames
from run_readers import events_url
from service import NOWHERE, SIMULATE, only, service

from errors import Interrupted
from event_logs.memory import MemoryEventLog
from events import STREAM_EVENT, StreamEvent
from services.runs.folding import Folded
from services.runs.projection import Transcript
from services.runs.writer import UNBOUNDED, RunWriter

pytestmark = pytest.mark.anyio

AT = "2026-11-28T10:00:00.000Z"
NOTHING = {"input_tokens": None, "output_tokens": None, "total_tokens": None}
SPENT = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
DROPPED = {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6, "cost_usd": 0.25}  # of the first attempts
CALL = {"name": "weather", "source": "hosted"}


def use(call_id: str) -> tuple[str, Any]:
    return "tool_use", {**CALL, "tool_call_id": call_id, "arguments": {}}


def result(call_id: str) -> tuple[str, Any]:
    data = {"tool_call_id": call_id, "name": "weather", "content": "3 C", "is_error": False, "truncated": False}
    return "tool_result", data


def said(content: str) -> tuple[str, Any]:
    return "partial_output", {"content": content}


def thought(content: str) -> tuple[str, Any]:
    return "thinking", {"content": content}


RESTARTED = (
    ("run_started", {"model": "a/one"}),
    ("step_started", {"step": 1, "model": "a/one"}),
    thought("First."),
    said("Let me see."),
    use("call_1"),
    result("call_1"),
    ("step_finished", {"step": 1, "model": "a/one", "finish_reason": "tool_calls", "usage": NOTHING}),
    ("step_started", {"step": 2, "model": "a/one"}),
    thought("DROPPED"),
    use("call_2"),
    result("call_2"),
    said("DROPPED"),
    use("call_3"),
    ("step_restarted", {"step": 2, "reason": "fallback", "model": "b/two"}),
    said("DROPPED"),
    ("step_restarted", {"step": 2, "reason": "output_invalid", "usage": DROPPED}),
    thought("Second."),
    said("Cold"),
    use("call_4"),
    result("call_4"),
    ("step_finished", {"step": 2, "model": "b/two", "finish_reason": "stop", "usage": SPENT}),
)
"""The events of a run up to its end: its second step is restarted twice, after calls with and without a result."""


def events() -> list[StreamEvent]:
    return [
        STREAM_EVENT.validate_python({"event": name, "data": data, "run_id": "run_1", "seq": seq, "timestamp": AT})
        for seq, (name, data) in enumerate(RESTARTED, start=1)
    ]


def test_the_json_answer_has_what_counts() -> None:
    """POST /execute folds a restarted step to its last attempt, and names the model that answered."""
    folded = Folded()
    for event in events():
        folded.add(event)
    answer = folded.response("run_1")
    assert (answer.output, answer.thinking) == ("Cold", "First.Second.")
    assert [call.tool_call_id for call in answer.tool_calls] == ["call_1", "call_4"]
    assert (answer.model, answer.answered_by) == ("a/one", "b/two")
    assert answer.usage.total_tokens == 13


def test_the_session_s_messages_have_what_counts() -> None:
    """A session's messages, which are also the next request's, have only the last attempt of a restarted step."""
    transcript = Transcript("run_1")
    for event in events():
        transcript.add(event)
    messages = transcript.messages()
    assert [(message.role, message.content, message.thinking) for message in messages] == [
        ("assistant", "Let me see.", "First."),
        ("tool", "3 C", None),
        ("assistant", "Cold", "Second."),
        ("tool", "3 C", None),
    ]
    assert [call.tool_call_id for message in messages for call in message.tool_calls or ()] == ["call_1", "call_4"]


def test_the_python_client_has_what_counts() -> None:
    """The Python client's text, calls and result have only the last attempt of a restarted step."""
    transcript = ClientTranscript()
    end = {"status": "succeeded", "usage": SPENT, "steps": 2, "duration_ms": 1}
    for seq, (name, data) in enumerate((*RESTARTED, ("complete", end)), start=1):
        event = event_of({"event": name, "data": data, "run_id": "run_1", "seq": seq, "timestamp": AT})
        assert event is not None
        transcript.add(event)
    result = transcript.result()
    assert result is not None
    assert (result.output, result.thinking, result.answered_by) == ("Cold", "First.Second.", "b/two")
    assert [*transcript.calls] == ["call_1", "call_4"]


@pytest.mark.parametrize("length", range(8, len(RESTARTED) + 1))
async def test_a_run_that_stops_there_ends_soundly(length: int) -> None:
    """After kill -9 behind any event, recovery adds results for the open calls that count, and for no others.

    The usage is that of the finished steps, and before a step's end that of its dropped attempts.
    """
    log = MemoryEventLog(1_000_000)
    before = await log.create("run_1")
    for event in events()[:length]:
        before.put(event.data)
    await before.commit()
    writer = RunWriter(await log.take_over("run_1"), UNBOUNDED)
    for event in events()[:length]:
        writer.replay(event)
    writer.conclude("failed", Interrupted(), "req_1")
    await writer.commit()
    raw = b"".join([page async for page in log.read("run_1", 0, follow=False)])
    ended = parse_frames(raw)
    check_grammar(ended)
    names = [name for name, _ in RESTARTED[:length]]
    known = SPENT if names.count("step_finished") == 2 else DROPPED if names.count("step_restarted") == 2 else NOTHING
    assert ended[-1]["data"]["usage"] == known


async def test_the_scenario_reads_the_same_everywhere() -> None:
    """The script `fallback` is replayed from each event, and is one answer of the second model in JSON."""
    async with service(NOWHERE) as agent:
        response = await agent.post(SIMULATE, {"scenario": "fallback", "delay_ms": 0})
        events = parse_frames(response.content.removeprefix(b": ping\n\n"))
        check_grammar(events)
        run_id = response.headers["x-run-id"]
        for after in range(len(events)):
            replay = await agent.client.get(events_url(run_id), headers={"last-event-id": str(after)})
            assert parse_frames(replay.content) == events[after:]
    dropped = {"input_tokens": 40, "output_tokens": 12, "total_tokens": 52}
    assert only(events, "step_restarted") == [
        {"step": 1, "reason": "fallback", "model": "simulated/fallback", "usage": dropped}
    ]
    assert only(events, "final_output") == [
        {"content": "You asked: What is the weather in Oslo? Another model answers."}
    ]
    [finished] = only(events, "step_finished")
    assert (finished["model"], finished["usage"]["total_tokens"]) == ("simulated/fallback", 52 + 70)
