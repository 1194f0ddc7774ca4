"""Computes a run's record and its messages from the events in its log."""

from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from closed_models import ABSENT
from event_data import (
    ApprovalResponse,
    Complete,
    FinalOutput,
    PartialOutput,
    RunError,
    RunStarted,
    Source,
    StepFinished,
    StepRestarted,
    StepStarted,
    Thinking,
    ToolResult,
    ToolUse,
)
from event_logs.base import EventLog
from event_logs.reading import events_in
from events import EventType, StreamEvent
from part_models import Content
from run_models import ANONYMOUS, Run, RunStatus
from session_models import FunctionCall, StoredMessage

FINISHED = frozenset((RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED))

MOST_PARTS = 200  # messages of one answer; beyond that, thinking after text begins no new one
RECORD_EVENTS = frozenset(
    (
        EventType.RUN_STARTED,
        EventType.STEP_STARTED,
        EventType.STEP_RESTARTED,
        EventType.STEP_FINISHED,
        EventType.ERROR,
        EventType.COMPLETE,
    )
)
"""The events that a run's record is computed from."""
ANSWER_EVENTS = frozenset(
    (
        EventType.STEP_STARTED,
        EventType.STEP_RESTARTED,
        EventType.THINKING,
        EventType.PARTIAL_OUTPUT,
        EventType.TOOL_USE,
        EventType.APPROVAL_RESPONSE,
        EventType.TOOL_RESULT,
        EventType.SOURCE,
        EventType.FINAL_OUTPUT,
    )
)
"""The events that a run's messages are computed from."""


async def run_in_log(log: EventLog, run_id: str, known: Run | None) -> Run:
    """Return the record of a run that has ended. Fields that its log lacks are taken from `known`.

    Raise as `EventLog.read` does, or ValueError if the log is damaged.
    """
    fields: dict[str, object] = {}
    async with aclosing(events_in(log.read(run_id, 0, follow=False), RECORD_EVENTS)) as events:
        async for event in events:
            fields |= _record_fields(event)
    if known is not None:
        return known.model_copy(update=fields | {"created_at": known.created_at, "owner": known.owner})
    return Run.model_validate({"run_id": run_id, "on_disconnect": "cancel"} | fields)


async def owner_in_log(log: EventLog, run_id: str) -> str:
    """Return the owner of a run as its first event has it. Raise as `EventLog.read` does."""
    async with aclosing(events_in(log.read(run_id, 0, follow=False), {EventType.RUN_STARTED})) as events:
        async for event in events:
            if isinstance(event.data, RunStarted):
                return event.data.owner or ANONYMOUS
    return ANONYMOUS


def _record_fields(event: StreamEvent) -> dict[str, object]:
    """Return the fields of a run's record that an event sets."""
    match event.data:
        case RunStarted(model=model, session_id=session_id, owner=owner):
            owner = owner or ANONYMOUS
            return {"model": model, "session_id": session_id, "owner": owner, "created_at": event.timestamp}
        case StepStarted(model=model) | StepRestarted(model=str() as model) | StepFinished(model=model):
            return {"answered_by": model}
        case RunError() as error:
            return {"error": error}
        case Complete() as complete:
            return {
                "status": RunStatus(complete.status),
                "finished_at": event.timestamp,
                "last_seq": event.seq,
                "finish_reason": complete.finish_reason,
                "usage": complete.usage,
                "steps": complete.steps,
            }
        case _:
            return {}


def question(run_id: str, content: Content) -> StoredMessage:
    """Return the first message of a run: its input."""
    return StoredMessage(run_id=run_id, role="user", content=content)


@dataclass(slots=True)
class _Part:
    """One message of the model: its thinking, the text after that, the calls after the text, and its sources.

    `decisions` and `results` are a person's decisions on the calls and the calls' results, by the call's id. `data` is
    the text's value, after `attempts` answers.
    """

    thinking: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    calls: list[ToolUse] = field(default_factory=list)
    decisions: dict[str, ApprovalResponse] = field(default_factory=dict)
    results: dict[str, ToolResult] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    data: Any = ABSENT
    attempts: int | None = None


class Transcript:
    """The messages that a finished run added to its conversation after the question, built event by event.

    Every call is followed by its result, however the run ended, because no model server accepts a call without one.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._parts = [_Part()]
        self._earlier_parts = 0
        self._part_of_call: dict[str, _Part] = {}

    def add(self, event: StreamEvent) -> None:
        """Add the next of the `ANSWER_EVENTS`."""
        match event.data:
            case StepStarted():
                self._earlier_parts = len(self._parts)
                self._parts.append(_Part())
            case StepRestarted():
                self._parts[self._earlier_parts :] = [_Part()]
            case Thinking(content=text):
                if self._parts[-1].text and len(self._parts) < MOST_PARTS:
                    self._parts.append(_Part())
                self._part_before_results().thinking.append(text)
            case PartialOutput(content=text):
                self._part_before_results().text.append(text)
            case ToolUse() as use:
                part = self._part_before_results()
                part.calls.append(use)
                self._part_of_call[use.tool_call_id] = part
            case ApprovalResponse(tool_call_id=call) as decision if call in self._part_of_call:
                self._part_of_call[call].decisions[call] = decision
            case ToolResult(tool_call_id=call) as result if call in self._part_of_call:
                self._part_of_call[call].results[call] = result
            case Source() as source:
                self._part_before_results().sources.append(source)
            case FinalOutput(data=data, attempts=int() as attempts):
                answer = next((part for part in reversed(self._parts) if part.text), self._parts[-1])
                answer.data, answer.attempts = data, attempts
            case _:
                pass

    def _part_before_results(self) -> _Part:
        """Return the part that the next piece belongs to: a new one after the results of calls.

        Calls that the model's own server runs have their results in the middle of a step.
        """
        if self._parts[-1].results:
            self._parts.append(_Part())
        return self._parts[-1]

    def messages(self) -> list[StoredMessage]:
        """Return the messages so far. Raise KeyError if a call has no result, as only in a damaged log."""
        return [StoredMessage(run_id=self._run_id, **fields) for part in self._parts for fields in _messages(part)]


def _messages(part: _Part) -> Iterable[dict[str, Any]]:
    text, thinking = "".join(part.text), "".join(part.thinking)
    calls = [_call(use, part.decisions.get(use.tool_call_id)) for use in part.calls]
    if text or thinking or calls or part.sources:
        yield {
            "role": "assistant",
            "content": text or None,
            "thinking": thinking or None,
            "tool_calls": calls or None,
            "sources": part.sources or None,
            "data": part.data,
            "attempts": part.attempts,
        }
    for call in part.calls:
        result = part.results[call.tool_call_id]
        yield {
            "role": "tool",
            "content": result.content,
            "tool_call_id": call.tool_call_id,
            "is_error": result.is_error,
        }


def _call(use: ToolUse, decision: ApprovalResponse | None) -> FunctionCall:
    return FunctionCall(**use.model_dump(exclude={"invalid_arguments"}), approval_response=decision)
