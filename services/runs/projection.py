"""Computes a run's record and its messages from the events in its log."""

from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from event_logs.base import EventLog
from event_logs.reading import events_in
from events import (
    Complete,
    EventType,
    PartialOutput,
    RunError,
    RunStarted,
    StepStarted,
    StreamEvent,
    Thinking,
    ToolResult,
    ToolUse,
)
from models import Content, Run, RunStatus
from session_models import FunctionCall, StoredMessage

MOST_PARTS = 200  # messages of one answer, beyond which thinking begins no other
WANTED = frozenset((EventType.RUN_STARTED, EventType.ERROR, EventType.COMPLETE))


async def run_in_log(log: EventLog, run_id: str, known: Run | None) -> Run:
    """A run that has ended, as its log tells it; what is not in the log is as it is in `known`.

    Raise as `EventLog.read` does, or ValueError where the log is damaged.
    """
    told: dict[str, object] = {}
    async with aclosing(events_in(log.read(run_id, 0, follow=False), WANTED)) as events:
        async for event in events:
            match event.data:
                case RunStarted(model=model, session_id=session_id):
                    told |= {"model": model, "session_id": session_id, "created_at": event.timestamp}
                case RunError() as error:
                    told["error"] = error
                case Complete() as complete:
                    told |= {
                        "status": RunStatus(complete.status),
                        "finished_at": event.timestamp,
                        "last_seq": event.seq,
                        "finish_reason": complete.finish_reason,
                        "usage": complete.usage,
                        "steps": complete.steps,
                    }
    if known is not None:
        return known.model_copy(update=told | {"created_at": known.created_at})
    return Run.model_validate({"run_id": run_id, "on_disconnect": "cancel"} | told)


ANSWERING = frozenset(
    (
        EventType.STEP_STARTED,
        EventType.THINKING,
        EventType.PARTIAL_OUTPUT,
        EventType.TOOL_USE,
        EventType.TOOL_RESULT,
    )
)
"""The events that make an answer."""


def question(run_id: str, content: Content) -> StoredMessage:
    """The first message of a run: what was asked."""
    return StoredMessage(run_id=run_id, role="user", content=content)


@dataclass(slots=True)
class _Said:
    """One message of the model: what it thought, the text that followed, and the calls that followed the text."""

    thinking: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    calls: list[ToolUse] = field(default_factory=list)
    results: dict[str, ToolResult] = field(default_factory=dict)


class Transcript:
    """What a run that has ended added to the conversation after its question, event by event.

    Every call is followed by its result, whatever became of the run, since no model's server takes one without.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._said = [_Said()]
        self._said_with: dict[str, _Said] = {}

    def add(self, event: StreamEvent) -> None:
        """Take in the next event, of those that `ANSWERING` names."""
        said = self._said
        match event.data:
            case StepStarted():
                said.append(_Said())
            case Thinking(content=text):
                if said[-1].results or (said[-1].text and len(said) < MOST_PARTS):
                    said.append(_Said())
                said[-1].thinking.append(text)
            case PartialOutput(content=text):
                if said[-1].results:  # the model went on after calls that its own server ran
                    said.append(_Said())
                said[-1].text.append(text)
            case ToolUse() as use:
                if said[-1].results:
                    said.append(_Said())
                said[-1].calls.append(use)
                self._said_with[use.tool_call_id] = said[-1]
            case ToolResult(tool_call_id=call) as result if call in self._said_with:
                self._said_with[call].results[call] = result
            case _:
                pass

    def messages(self) -> list[StoredMessage]:
        """The messages so far. Raise KeyError where a call has no result, as only a damaged log has it."""
        return [StoredMessage(run_id=self._run_id, **part) for one in self._said for part in _messages(one)]


def _messages(said: _Said) -> Iterable[dict[str, Any]]:
    text, thinking = "".join(said.text), "".join(said.thinking)
    calls = [FunctionCall(**call.model_dump(exclude={"invalid_arguments"})) for call in said.calls]
    if text or thinking or calls:
        yield {
            "role": "assistant",
            "content": text or None,
            "thinking": thinking or None,
            "tool_calls": calls or None,
        }
    for call in said.calls:
        result = said.results[call.tool_call_id]
        yield {
            "role": "tool",
            "content": result.content,
            "tool_call_id": call.tool_call_id,
            "is_error": result.is_error,
        }
