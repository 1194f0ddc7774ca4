"""Scripted runs for building a front end: the same machinery and contract as a real run, without a model or a key."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from errors import UpstreamFailed
from events import (
    ApprovalResponse,
    EventData,
    PartialOutput,
    StepFinished,
    StepStarted,
    Thinking,
    ToolProgress,
    ToolResult,
    ToolSource,
    ToolUse,
    ToolUseDelta,
    Usage,
)
from models import Scenario, SimulateRequest, TextPart
from services.runs.suspension import InDoubt, Outcomes, Pending, Suspension, refusal_told
from services.runs.writer import RunWriter

MODEL = "simulated/scripted"
SILENCE_S = 30.0
USED = {"input", "scenario", "delay_ms"}  # what of the request the script needs after a wait
ECHOED = 2000  # characters of the question in the answer
ENDS = (*".!?…。！？",)  # of a sentence
TEAR_AFTER = 8  # events that the first reader of `truncated` gets before its body is torn
CALL = "call_simulated_1"
TOOL = "get_weather"
DELETE = "delete_folder"
LOCATE = "get_location"


class Fail(NamedTuple):
    """Where a script ends as if the model's server had failed."""


class Silence(NamedTuple):
    """Where a script says nothing for a while."""

    seconds: float


Beat = EventData | Fail | Silence | Pending


class SimulatedAgent:
    """Plays a scenario, one beat after the other, with the request's delay before each."""

    model = MODEL

    async def run(self, request: SimulateRequest, events: RunWriter) -> Suspension | None:
        """Write the run but for its ends, or to where the script waits. Raise `UpstreamFailed` where that does."""
        return await _play(script(request), request, events)

    async def resume(self, request: SimulateRequest, outcomes: Outcomes, events: RunWriter) -> Suspension | None:
        """Go on with the script after its wait."""
        return await _play(script_after(request, outcomes), request, events)


async def _play(beats: Iterable[Beat], request: SimulateRequest, events: RunWriter) -> Suspension | None:
    for beat in beats:
        match beat:
            case Silence(seconds):
                await asyncio.sleep(seconds)
            case Fail():
                raise UpstreamFailed
            case Pending():
                return Suspension([beat], request.model_dump(mode="json", include=USED), {})
            case _:
                await asyncio.sleep(request.delay_ms / 1000)
                events.put(beat)
                await events.commit()
    return None


def script(request: SimulateRequest) -> Iterator[Beat]:
    """The beats of a scenario; the same for the same request."""
    match request.scenario:
        case Scenario.LONG:
            yield from _plain(_pieces(_essay(_question(request)), 3))
        case Scenario.SLOW:
            yield StepStarted(step=1, model=MODEL)
            yield Silence(SILENCE_S)
            yield from _said(_pieces(f"Sorry for the wait. {_asked(request)}"))
            yield _finished(1, "stop", 12)
        case Scenario.ERROR:
            yield StepStarted(step=1, model=MODEL)
            yield from _said(_pieces("I was about to tell you that"))
            yield Fail()
        case Scenario.TOOL_ERROR:
            yield from _with_tool("The weather service did not answer.", is_error=True)
            yield from _second_step("I could not look up the weather: the weather service did not answer.")
        case Scenario.PROGRESS:
            yield from _called("archive_mail", {"folder": "inbox"}, "python")
            for done in range(1, 11):
                message = f"Archived {done * 12} of 120 messages"
                yield ToolProgress(tool_call_id=CALL, message=message, progress=done * 12, total=120)
            yield _result("archive_mail", '{"archived":120}')
            yield _finished(1, "tool_calls", 24)
            yield from _second_step("Your inbox is empty: 120 messages are in the archive.")
        case Scenario.APPROVAL:
            yield from _called(DELETE, {"folder": "drafts"}, "python")
            yield Pending(CALL, DELETE, "approval", {"folder": "drafts"})
        case Scenario.CLIENT_TOOL:
            yield from _called(LOCATE, {}, "client")
            yield Pending(CALL, LOCATE, "client", {})
        case Scenario.DEFAULT | Scenario.TRUNCATED:
            yield from _with_tool('{"city":"Oslo","celsius":3,"sky":"light snow"}', is_error=False)
            yield from _second_step(f"{_asked(request)} It is 3 °C in Oslo, with light snow. ❄️")


def script_after(request: SimulateRequest, outcomes: Outcomes) -> Iterator[Beat]:
    """The beats that follow a scenario's wait."""
    match outcomes.get(CALL):
        case ToolResult() as result if request.scenario is Scenario.CLIENT_TOOL:
            answer = f"Your page says where you are: {result.content}"
        case ApprovalResponse(approved=True, arguments=changed):
            folder = (changed or {}).get("folder", "drafts")
            yield _result(DELETE, f'{{"deleted":{json.dumps(folder)}}}')
            answer = f"I deleted the folder {folder}."
        case ApprovalResponse(reason=reason) | InDoubt(ApprovalResponse(approved=False, reason=reason)):
            yield _result(DELETE, refusal_told(reason), is_error=True)
            answer = "I left the folder as it is."
        case ToolResult(is_error=refused):  # told before the server stopped
            answer = "I left the folder as it is." if refused else "I deleted the folder."
        case _:
            yield _result(DELETE, "The server stopped while this call was being made.", is_error=True)
            answer = "I don't know whether the folder is deleted."
    yield _finished(1, "tool_calls", 24)
    yield from _second_step(answer)


def _called(name: str, arguments: dict[str, Any], source: ToolSource) -> Iterator[EventData]:
    yield StepStarted(step=1, model=MODEL)
    text = json.dumps(arguments)
    for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
        yield ToolUseDelta(tool_call_id=CALL, name=name, arguments_delta=piece, source=source)
    yield ToolUse(tool_call_id=CALL, name=name, arguments=arguments, source=source)


def _result(name: str, content: str, *, is_error: bool = False) -> ToolResult:
    return ToolResult(
        tool_call_id=CALL, name=name, content=content, is_error=is_error, duration_ms=120, truncated=False
    )


def _plain(pieces: Iterable[str]) -> Iterator[EventData]:
    yield StepStarted(step=1, model=MODEL)
    yield from _said(pieces)
    yield _finished(1, "stop", 400)


def _with_tool(result: str, *, is_error: bool) -> Iterator[EventData]:
    yield StepStarted(step=1, model=MODEL)
    for piece in _pieces("The user asks about the weather, so I need to look it up."):
        yield Thinking(content=piece)
    for piece in ('{"ci', 'ty":"', 'Oslo"}'):
        yield ToolUseDelta(tool_call_id=CALL, name=TOOL, arguments_delta=piece, source="python")
    yield ToolUse(tool_call_id=CALL, name=TOOL, arguments={"city": "Oslo"}, source="python")
    yield ToolProgress(tool_call_id=CALL, message="Asking the weather service", progress=1, total=2)
    yield _result(TOOL, result, is_error=is_error)
    yield _finished(1, "tool_calls", 24)


def _second_step(answer: str) -> Iterator[EventData]:
    yield StepStarted(step=2, model=MODEL)
    yield from _said(_pieces(answer))
    yield _finished(2, "stop", 18)


def _said(pieces: Iterable[str]) -> Iterator[PartialOutput]:
    return (PartialOutput(content=piece) for piece in pieces)


def _finished(step: int, reason: str, tokens: int) -> StepFinished:
    usage = Usage(input_tokens=40, output_tokens=tokens, total_tokens=40 + tokens)
    return StepFinished(step=step, model=MODEL, finish_reason=reason, usage=usage)


def _question(request: SimulateRequest) -> str:
    """The text of the question, cut to what the answer repeats."""
    given = request.input
    parts = [given] if isinstance(given, str) else [part.text for part in given if isinstance(part, TextPart)]
    text = " ".join(parts)
    return text if len(text) <= ECHOED else f"{text[:ECHOED]}…"


def _asked(request: SimulateRequest) -> str:
    """A sentence that repeats the question, whose own last sign ends it where it has one."""
    question = _question(request).rstrip() or "an image"
    end = "" if question.endswith(ENDS) else "."
    return f"You asked: {question}{end}"


def _pieces(text: str, words: int = 1) -> list[str]:
    """The text in pieces of so many words, spaces kept."""
    parts = text.split(" ")
    groups = [" ".join(parts[i : i + words]) for i in range(0, len(parts), words)]
    return [piece + " " for piece in groups[:-1]] + groups[-1:]


def _essay(topic: str) -> str:
    """Some eight hundred words, in paragraphs."""
    return "\n\n".join(
        f"Part {part}. On the question of {topic.rstrip('?.! ')}, point {part} deserves a paragraph of its own: "
        "it is long enough to fill a screen, it scrolls, and it shows how the page behaves while the text is still "
        "growing and the reader has begun to read it from the top."
        for part in range(1, 16)
    )
