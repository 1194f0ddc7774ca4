"""Makes the messages for a model from a conversation, and counts their tokens."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from json_codec.text import dumps
from models import Content, Message, TextPart
from services.upstreams.wire_rules import MESSAGE_KEYS, blank, signed
from session_models import ProviderState, StoredMessage

BYTES_PER_TOKEN = 3  # of UTF-8: below what models need for English (4), and about right for Chinese and Japanese
MESSAGE_TOKENS = 8  # what a message costs beside its text
IMAGE_TOKENS = 1500
COUNTED_AT_ONCE = 1024 * 1024  # characters, which take some 2 ms

WireMessage = dict[str, Any]
"""A message as a chat completion request has it."""
WireContent = str | list[dict[str, Any]]


def from_request(messages: Sequence[Message]) -> list[WireMessage]:
    """A conversation that the caller keeps."""
    return [{"role": message.role, "content": wire_content(message.content)} for message in messages]


def from_session(messages: Sequence[StoredMessage], states: Sequence[ProviderState] = ()) -> list[WireMessage]:
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
