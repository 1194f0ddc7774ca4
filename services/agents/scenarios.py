"""The scripts of the simulated runs, as the events that they write. Pure."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from errors import AgentStreamError, BudgetExceeded, UpstreamFailed
from event_data import (
    ApprovalResponse,
    BudgetResponse,
    EventData,
    PartialOutput,
    Source,
    StepFinished,
    StepRestarted,
    StepStarted,
    Thinking,
    ToolProgress,
    ToolResult,
    ToolSource,
    ToolUse,
    ToolUseDelta,
)
from json_codec.text import dumps
from models import Scenario, SimulateRequest
from part_models import texts_in
from services.runs.suspension import BUDGET, InDoubt, Outcomes, Pending, SpentBudget, refusal_message
from usage_models import NO_USAGE, Usage

MODEL = "simulated/scripted"
FALLBACK_MODEL = "simulated/fallback"
SILENCE_S = 30.0  # of `slow`: long enough to see heartbeats
MAX_ECHO = 2000  # characters of the question that the answer repeats
SENTENCE_ENDS = (*".!?…。！？",)
TEAR_AFTER = 8  # events that the first reader of `truncated` gets before its body is torn
PROMPT_TOKENS, CALL_TOKENS = 40, 24  # of each attempt; of the output of one that makes a call
DROPPED_TOKENS = 12  # of the output of an attempt that no longer counts
TOTAL_TOKENS = 80  # the budget of `budget`: enough for one step
CALL = "call_simulated_1"
WEATHER_TOOL = "get_weather"
DELETE_TOOL = "delete_folder"
LOCATION_TOOL = "get_location"
WEATHER = {"city": "Oslo", "celsius": 3, "sky": "light snow"}

CITING = "It is cold in Oslo [1], the capital of Norway [2], and it snows [3]."
SOURCES = (
    Source(url="https://www.met.no/en/weather", title="The weather in Norway", snippet="Snow showers in the evening."),
    Source(url="https://en.wikipedia.org/wiki/Oslo", title="Oslo"),
    Source(url="https://www.yr.no/en/forecast/daily-table/1-72837"),
)


class Fail(NamedTuple):
    """The script ends here with an error."""

    error: type[AgentStreamError]


class Silence(NamedTuple):
    """The script pauses here."""

    seconds: float


class Value(NamedTuple):
    """The value of the final answer, and the number of answers until it was valid."""

    data: Any
    attempts: int


Beat = EventData | Fail | Silence | Pending | SpentBudget | Value
"""A step of a script. At a `Pending` call and at a `SpentBudget`, the run waits for an answer."""


def script(request: SimulateRequest) -> Iterator[Beat]:
    """Return the beats of a request's scenario, up to its wait if it has one. Equal requests have equal beats."""
    match request.scenario:
        case Scenario.LONG:
            yield from _text_step(_pieces(_essay(_question(request)), 3))
        case Scenario.SLOW:
            yield StepStarted(step=1, model=MODEL)
            yield Silence(SILENCE_S)
            yield from _text(_pieces(f"Sorry for the wait. {_echo(request)}"))
            yield _finished(1, "stop", 12)
        case Scenario.ERROR:
            yield StepStarted(step=1, model=MODEL)
            yield from _text(_pieces("I was about to tell you that"))
            yield Fail(UpstreamFailed)
        case Scenario.TOOL_ERROR:
            yield from _weather_step("The weather service did not answer.", is_error=True)
            yield from _answer_step("I could not look up the weather: the weather service did not answer.")
        case Scenario.PROGRESS:
            yield from _progress_step()
            yield from _answer_step("Your inbox is empty: 120 messages are in the archive.")
        case Scenario.APPROVAL:
            yield from _call(DELETE_TOOL, {"folder": "drafts"}, "python")
            yield Pending(CALL, DELETE_TOOL, "approval", {"folder": "drafts"})
        case Scenario.CLIENT_TOOL:
            yield from _call(LOCATION_TOOL, {}, "client")
            yield Pending(CALL, LOCATION_TOOL, "client", {})
        case Scenario.FALLBACK:
            yield from _replaced_step(f"{_echo(request)} Another model answers.")
        case Scenario.SOURCES:
            yield from _cited_answer(f"{_echo(request)} {CITING}")
        case Scenario.STRUCTURED:
            yield from _weather_step(dumps(WEATHER), is_error=False)
            yield from _checked_answer_step(WEATHER, "It is 3 °C in Oslo.", '{"city": "Oslo", "celsius": "3 °C"}')
        case Scenario.BUDGET:
            yield from _weather_step(dumps(WEATHER), is_error=False)
            yield SpentBudget(spent_tokens=PROMPT_TOKENS + CALL_TOKENS, max_total_tokens=TOTAL_TOKENS)
        case Scenario.DEFAULT | Scenario.TRUNCATED:
            yield from _weather_step(dumps(WEATHER), is_error=False)
            yield from _answer_step(f"{_echo(request)} It is 3 °C in Oslo, with light snow. ❄️")


def script_after(request: SimulateRequest, outcomes: Outcomes) -> Iterator[Beat]:
    """Return the beats after a scenario's wait, for the outcome of its call or the decision on its budget."""
    if isinstance(decision := outcomes.get(BUDGET), BudgetResponse):
        yield from _answer_step("It is 3 °C in Oslo.") if decision.approved else [Fail(BudgetExceeded)]
        return
    match outcomes.get(CALL):
        case ToolResult() as result if request.scenario is Scenario.CLIENT_TOOL:
            answer = f"Your page says where you are: {result.content}"
        case ApprovalResponse(approved=True, arguments=changed):
            folder = (changed or {}).get("folder", "drafts")
            yield _result(DELETE_TOOL, f'{{"deleted":{json.dumps(folder)}}}')
            answer = f"I deleted the folder {folder}."
        case ApprovalResponse(reason=reason) | InDoubt(ApprovalResponse(approved=False, reason=reason)):
            yield _result(DELETE_TOOL, refusal_message(reason), is_error=True)
            answer = "I left the folder as it is."
        case ToolResult(is_error=refused):  # written before the server stopped
            answer = "I left the folder as it is." if refused else "I deleted the folder."
        case _:
            yield _result(DELETE_TOOL, "The server stopped while this call was being made.", is_error=True)
            answer = "I don't know whether the folder is deleted."
    yield _finished(1, "tool_calls", CALL_TOKENS)
    yield from _answer_step(answer)


def _call(name: str, arguments: dict[str, Any], source: ToolSource) -> Iterator[EventData]:
    yield StepStarted(step=1, model=MODEL)
    text = json.dumps(arguments)
    for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
        yield ToolUseDelta(tool_call_id=CALL, name=name, arguments_delta=piece, source=source)
    yield ToolUse(tool_call_id=CALL, name=name, arguments=arguments, source=source)


def _result(name: str, content: str, *, is_error: bool = False) -> ToolResult:
    return ToolResult(
        tool_call_id=CALL, name=name, content=content, is_error=is_error, duration_ms=120, truncated=False
    )


def _text_step(pieces: Iterable[str]) -> Iterator[EventData]:
    yield StepStarted(step=1, model=MODEL)
    yield from _text(pieces)
    yield _finished(1, "stop", 400)


def _weather_step(result: str, *, is_error: bool) -> Iterator[EventData]:
    yield StepStarted(step=1, model=MODEL)
    for piece in _pieces("The user asks about the weather, so I need to look it up."):
        yield Thinking(content=piece)
    for piece in ('{"ci', 'ty":"', 'Oslo"}'):
        yield ToolUseDelta(tool_call_id=CALL, name=WEATHER_TOOL, arguments_delta=piece, source="python")
    yield ToolUse(tool_call_id=CALL, name=WEATHER_TOOL, arguments={"city": "Oslo"}, source="python")
    yield ToolProgress(tool_call_id=CALL, message="Asking the weather service", progress=1, total=2)
    yield _result(WEATHER_TOOL, result, is_error=is_error)
    yield _finished(1, "tool_calls", CALL_TOKENS)


def _progress_step() -> Iterator[EventData]:
    yield from _call("archive_mail", {"folder": "inbox"}, "python")
    for done in range(12, 121, 12):
        message = f"Archived {done} of 120 messages"
        yield ToolProgress(tool_call_id=CALL, message=message, progress=done, total=120)
    yield _result("archive_mail", '{"archived":120}')
    yield _finished(1, "tool_calls", CALL_TOKENS)


def _cited_answer(answer: str) -> Iterator[EventData]:
    """Yield the events of a step whose sources come with the text, as those of a model that searches the web."""
    yield StepStarted(step=1, model=MODEL)
    yield SOURCES[0]
    yield from _text(_pieces(answer))
    yield from SOURCES[1:]
    yield _finished(1, "stop", 30)


def _replaced_step(answer: str) -> Iterator[EventData]:
    """Yield a step whose model fails after thinking, some text and a part of a call. Another one answers."""
    yield StepStarted(step=1, model=MODEL)
    yield Thinking(content="This model fails after some words.")
    yield from _text(_pieces("It is 30 °C in"))
    yield ToolUseDelta(tool_call_id=CALL, name=WEATHER_TOOL, arguments_delta='{"ci', source="python")
    yield StepRestarted(step=1, reason="fallback", model=FALLBACK_MODEL, usage=_usage(DROPPED_TOKENS))
    yield from _text(_pieces(answer))
    yield _finished(1, "stop", DROPPED_TOKENS, 30, model=FALLBACK_MODEL)


def _answer_step(answer: str) -> Iterator[EventData]:
    yield StepStarted(step=2, model=MODEL)
    yield from _text(_pieces(answer))
    yield _finished(2, "stop", 18)


def _checked_answer_step(value: Any, *invalid: str) -> Iterator[Beat]:
    """Yield a step whose first answers don't match the schema, and whose last one does."""
    yield StepStarted(step=2, model=MODEL)
    for answer in invalid:
        yield from _text(_pieces(answer))
        yield StepRestarted(step=2, reason="output_invalid", usage=_usage(DROPPED_TOKENS))
    yield from _text(_pieces(json.dumps(value, ensure_ascii=False, indent=2)))
    yield Value(value, attempts=len(invalid) + 1)
    yield _finished(2, "stop", *[DROPPED_TOKENS] * len(invalid), 60)


def _text(pieces: Iterable[str]) -> Iterator[PartialOutput]:
    return (PartialOutput(content=piece) for piece in pieces)


def _finished(step: int, reason: str, *output_tokens: int, model: str = MODEL) -> StepFinished:
    """Return the end of a step. It has the output tokens of each of its attempts."""
    usage = sum(map(_usage, output_tokens), NO_USAGE)
    return StepFinished(step=step, model=model, finish_reason=reason, usage=usage)


def _usage(output_tokens: int) -> Usage:
    """Return the usage of one attempt."""
    total = PROMPT_TOKENS + output_tokens
    return Usage(input_tokens=PROMPT_TOKENS, output_tokens=output_tokens, total_tokens=total)


def _question(request: SimulateRequest) -> str:
    """Return the text of the question, cut to `MAX_ECHO`."""
    text = " ".join(texts_in(request.input))
    return text if len(text) <= MAX_ECHO else f"{text[:MAX_ECHO]}…"


def _echo(request: SimulateRequest) -> str:
    """Return a sentence that repeats the question, with a full stop unless the question ends with a mark of its own."""
    question = _question(request).rstrip() or "an image"
    end = "" if question.endswith(SENTENCE_ENDS) else "."
    return f"You asked: {question}{end}"


def _pieces(text: str, words: int = 1) -> list[str]:
    """Split the text into pieces of this many words, with their spaces."""
    parts = text.split(" ")
    groups = [" ".join(parts[i : i + words]) for i in range(0, len(parts), words)]
    return [piece + " " for piece in groups[:-1]] + groups[-1:]


def _essay(topic: str) -> str:
    """Return about eight hundred words, in paragraphs."""
    return "\n\n".join(
        f"Part {part}. On the question of {topic.rstrip('?.! ')}, point {part} deserves a paragraph of its own: "
        "it is long enough to fill a screen, it scrolls, and it shows how the page behaves while the text is still "
        "growing and the reader has begun to read it from the top."
        for part in range(1, 16)
    )
