"""A conversation's history: kept messages of a run's events, a model's messages of kept ones, and their size."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from events import EventType, PartialOutput, StepStarted, StreamEvent, Thinking, ToolResult, ToolUse
from models import Content, Message, TextPart
from services.json_text import dumps
from services.wire_rules import MESSAGE_KEYS, blank, signed
from session_models import FunctionCall, ProviderState, StoredMessage

BYTES_PER_TOKEN = 3  # of UTF-8: below what models need for English (4), and about right for Chinese and Japanese
MESSAGE_TOKENS = 8  # what a message costs beside its text
IMAGE_TOKENS = 1500
COUNTED_AT_ONCE = 1024 * 1024  # characters, which take some 2 ms
MOST_PARTS = 200  # messages of one answer, beyond which thinking begins no other
TITLE_LENGTH = 80
TITLE_SEARCHED = 10_000  # characters of each text

WireMessage = dict[str, Any]
"""A message as a chat completion request has it."""
WireContent = str | list[dict[str, Any]]


# Kept messages

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


class Answer:
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


def title_of(content: Content) -> str | None:
    """A conversation's title: the first line of its first input, cut at a word."""
    texts = [content] if isinstance(content, str) else [part.text for part in content if isinstance(part, TextPart)]
    texts = [text[:TITLE_SEARCHED] for text in texts]
    line = next((line.strip() for text in texts for line in text.splitlines() if line.strip()), "")
    if len(line) > TITLE_LENGTH:
        line = line[:TITLE_LENGTH].rsplit(" ", 1)[0].rstrip() + "…"
    return line or None


# A model's messages


def given(messages: Sequence[Message]) -> list[WireMessage]:
    """A conversation that the caller keeps."""
    return [{"role": message.role, "content": wire_content(message.content)} for message in messages]


def kept(messages: Sequence[StoredMessage], states: Sequence[ProviderState] = ()) -> list[WireMessage]:
    """What one run said, with the states that the model's provider wants back; nothing where its question is lost.

    Many models want turns: texts that the model interrupted to think join.
    """
    wire: list[WireMessage] = []
    state_of = _state_by_message(messages, states)
    for place, message in enumerate(messages):
        if not wire and message.role != "user":
            continue  # its question is lost, and a turn begins with one
        if message.role == "assistant" and not message.tool_calls and blank(message.content):
            continue  # the model has only thought, and many servers take no empty message
        last = wire[-1] if wire else {}
        told = _wire(message)
        if state := state_of.get(place):
            told = _with_state(told, state)
        if message.role == "assistant" and last.get("role") == "assistant":
            last |= told | {"content": f"{last['content'] or ''}{message.content or ''}"}
        else:
            wire.append(told)
    return wire


def _state_by_message(messages: Sequence[StoredMessage], states: Sequence[ProviderState]) -> dict[int, ProviderState]:
    """The state of each message that has one, by its place: the one of its calls, or of its run's last answer."""
    by_call = {call_id: state for state in states for call_id in state.calls}
    last_answers = {
        message.run_id: place
        for place, message in enumerate(messages)
        if message.role == "assistant" and not blank(message.content)
    }
    found = {last_answers[state.run_id]: state for state in states if not state.calls and state.run_id in last_answers}
    for place, message in enumerate(messages):
        if message.tool_calls and (state := by_call.get(message.tool_calls[0].tool_call_id)):
            found[place] = state
    return found


def _with_state(message: WireMessage, state: ProviderState) -> WireMessage:
    calls = [_as_it_came(call, dict(state.calls.get(call["id"], {}))) for call in message.get("tool_calls", ())]
    return {**message, **({"tool_calls": calls} if calls else {}), **state.message}


def _as_it_came(call: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    arguments = state.pop("arguments", call["function"]["arguments"])
    return signed({**call, "function": {**call["function"], "arguments": arguments}}, state)


def _wire(message: StoredMessage) -> WireMessage:
    wire: WireMessage = {"role": message.role, "content": None}
    if message.content is not None:
        wire["content"] = wire_content(message.content)
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": call.tool_call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": dumps(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return wire


def following(turns: Iterable[Sequence[WireMessage]]) -> list[WireMessage]:
    """Turns as one conversation. Questions that got no answer join the next one, since many models want turns."""
    wire: list[WireMessage] = []
    unanswered: list[WireContent] = []
    for asked, *answer in turns:
        unanswered.append(asked["content"])
        if answer:
            wire += {"role": "user", "content": joined(unanswered)}, *answer
            unanswered = []
    if unanswered:
        wire.append({"role": "user", "content": joined(unanswered)})
    return wire


def conversation(instructions: str | None, history: Sequence[WireMessage], asked: Content) -> list[WireMessage]:
    """All that the model is told: what it is, what was said, what is asked."""
    system: list[WireMessage] = [{"role": "system", "content": instructions}] if instructions else []
    content = wire_content(asked)
    if history and history[-1]["role"] == "user":
        history, content = history[:-1], joined([history[-1]["content"], content])
    return [*system, *history, {"role": "user", "content": content}]


def wire_content(content: Content) -> WireContent:
    """Text as it is, parts in OpenAI's form."""
    if isinstance(content, str):
        return content
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, TextPart)
        else {"type": "image_url", "image_url": {"url": str(part.url)}}
        for part in content
    ]


def joined(contents: Sequence[WireContent]) -> WireContent:
    """Contents as one."""
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return "\n\n".join(texts)
    return [part for content in contents for part in _parts(content)]


def _parts(content: WireContent) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


# The size


async def tokens(messages: Iterable[WireMessage]) -> int:
    """About how many tokens these take; rather too many than too few. Others get their turns while they are counted."""
    return sum([await _tokens_of_message(message) for message in messages])


async def _tokens_of_message(message: WireMessage) -> int:
    state = {key: value for key, value in message.items() if key not in MESSAGE_KEYS}
    of_state = await _tokens(dumps(state)) if state else 0
    functions = [call["function"] for call in message.get("tool_calls", ())]
    of_calls = [MESSAGE_TOKENS + await _tokens(function["name"] + function["arguments"]) for function in functions]
    return MESSAGE_TOKENS + await _tokens(message.get("content")) + sum(of_calls) + of_state


async def _tokens(content: WireContent | None) -> int:
    if content is None or isinstance(content, str):
        return await _bytes(content or "") // BYTES_PER_TOKEN
    return sum([await _tokens(part["text"]) if part["type"] == "text" else IMAGE_TOKENS for part in content])


async def _bytes(text: str) -> int:
    """The length in UTF-8, which takes 25 ms to work out for 10 MB in one go."""
    if text.isascii():
        return len(text)
    size = 0
    for start in range(0, len(text), COUNTED_AT_ONCE):
        size += len(text[start : start + COUNTED_AT_ONCE].encode("utf-8", "replace"))
        if start:
            await asyncio.sleep(0)
    return size
