"""Makes the messages for a model from a conversation, and estimates how many tokens they take."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from json_codec.text import dumps, is_object
from message_models import Message, MessageCall
from part_models import AudioPart, Content, FilePart, ImagePart, Part, TextPart
from services.upstreams.wire_rules import MESSAGE_KEYS, is_blank, with_provider_fields
from session_models import ProviderState, StoredMessage

BYTES_PER_TOKEN = 3  # of UTF-8: about right for Chinese and Japanese, and too few for English (4), which is safe
MESSAGE_TOKENS = 8  # of a message, beside its text
MEDIA_TOKENS = 1500  # of an image, and of a small file or recording
CHARACTERS_PER_TOKEN = 100  # of base64 in a larger one: about 1,000 tokens for a page of 75 KB
COUNTED_AT_ONCE = 1024 * 1024  # characters, which take about 2 ms
MAX_CHECKED_ARGUMENTS = 64 * 1024  # characters of one call, which take at most 3 ms: longer ones are sent unchecked

WireMessage = dict[str, Any]
"""A message in the form of a chat completion request."""
WireContent = str | list[dict[str, Any]]


def from_request(messages: Sequence[Message]) -> list[WireMessage]:
    """Return the messages of a conversation that the caller sends with the request.

    Two messages of one role in a row become one, because many models accept no two. Call this in a
    thread: ten megabytes of arguments take up to 0.4 s.
    """
    wire: list[WireMessage] = []
    for message in map(_from_client, messages):
        previous = wire[-1] if wire else {}
        if previous.get("role") != message["role"] or message["role"] == "tool" or "tool_calls" in previous:
            wire.append(message)
        else:
            contents = [content for content in (previous["content"], message["content"]) if content is not None]
            previous |= message | {"content": joined(contents)}
    return wire


def _from_client(message: Message) -> WireMessage:
    """Return a message in the form of a request. Instructions have one role, and only a user's content has parts."""
    role = "system" if message.role == "developer" else message.role
    content = wire_content(message.content) if message.content is not None else None
    if role != "user" and not isinstance(content, str | None):
        content = "\n".join(part["text"] for part in content)
    wire: WireMessage = {"role": role, "content": content}
    if role == "tool":
        wire |= {"content": content or "", "tool_call_id": message.tool_call_id}
    if message.tool_calls:
        wire["tool_calls"] = [_client_call(call) for call in message.tool_calls]
    return wire


def _client_call(call: MessageCall) -> dict[str, Any]:
    written = call.function.arguments
    arguments = written if len(written) > MAX_CHECKED_ARGUMENTS or is_object(written) else "{}"
    return {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}


def from_session(messages: Sequence[StoredMessage], states: Sequence[ProviderState] = ()) -> list[WireMessage]:
    """Return the messages of one stored run, with the states that the model's provider wants back.

    Return none if the run's question is lost. Texts between which the model was only thinking are joined, because many
    models accept no two messages of one role in a row.
    """
    wire: list[WireMessage] = []
    state_of = _state_by_index(messages, states)
    for index, message in enumerate(messages):
        if not wire and message.role != "user":
            continue  # a turn has to begin with a question, and this one is lost
        if message.role == "assistant" and not message.tool_calls and is_blank(message.content):
            continue  # the model was only thinking, and many servers refuse an empty message
        previous = wire[-1] if wire else {}
        converted = _to_wire(message)
        if state := state_of.get(index):
            converted = _with_state(converted, state)
        if message.role == "assistant" and previous.get("role") == "assistant":
            previous |= converted | {"content": f"{previous['content'] or ''}{message.content or ''}"}
        else:
            wire.append(converted)
    return wire


def _state_by_index(messages: Sequence[StoredMessage], states: Sequence[ProviderState]) -> dict[int, ProviderState]:
    """Return the states by the index of their message.

    A state with calls belongs to the message with these calls, another one to the last answer of its run.
    """
    by_call = {call_id: state for state in states for call_id in state.calls}
    last_answers = {
        message.run_id: index
        for index, message in enumerate(messages)
        if message.role == "assistant" and not is_blank(message.content)
    }
    found = {last_answers[state.run_id]: state for state in states if not state.calls and state.run_id in last_answers}
    for index, message in enumerate(messages):
        if message.tool_calls and (state := by_call.get(message.tool_calls[0].tool_call_id)):
            found[index] = state
    return found


def _with_state(message: WireMessage, state: ProviderState) -> WireMessage:
    """Restore a message to the provider's own form."""
    restored = {**message, **state.message}
    if calls := message.get("tool_calls"):
        restored["tool_calls"] = [_call_with_state(call, dict(state.calls.get(call["id"], {}))) for call in calls]
    return restored


def _call_with_state(call: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Restore a call to the provider's own form: its text of the arguments, and its signature."""
    arguments = state.pop("arguments", call["function"]["arguments"])
    return with_provider_fields({**call, "function": {**call["function"], "arguments": arguments}}, state)


def _to_wire(message: StoredMessage) -> WireMessage:
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
    """Join turns to one conversation.

    Questions without an answer are joined to the next question, because many models accept no two in a row.
    """
    wire: list[WireMessage] = []
    unanswered: list[WireContent] = []
    for question, *answer in turns:
        unanswered.append(question["content"])
        if answer:
            wire += {"role": "user", "content": joined(unanswered)}, *answer
            unanswered = []
    if unanswered:
        wire.append({"role": "user", "content": joined(unanswered)})
    return wire


def conversation(instructions: str | None, history: Sequence[WireMessage], question: Content) -> list[WireMessage]:
    """Return all messages for the model: the instructions, the earlier messages and the question."""
    system: list[WireMessage] = [{"role": "system", "content": instructions}] if instructions else []
    if system and history and history[0]["role"] == "system":
        system, history = [{"role": "system", "content": f"{instructions}\n\n{history[0]['content']}"}], history[1:]
    content = wire_content(question)
    if history and history[-1]["role"] == "user":
        history, content = history[:-1], joined([history[-1]["content"], content])
    return [*system, *history, {"role": "user", "content": content}]


def followed_up(
    messages: Sequence[WireMessage], answer: str, reasoning: Mapping[str, Any], question: str
) -> list[WireMessage]:
    """Return the messages with an answer of the model and a question about it.

    `reasoning` holds keys of the answer's message. A blank answer is left out, because many servers refuse it. The
    question is then joined to the one before it.
    """
    if not is_blank(answer):
        return [*messages, {"role": "assistant", "content": answer, **reasoning}, {"role": "user", "content": question}]
    *earlier, last = messages
    if last["role"] != "user":
        return [*messages, {"role": "user", "content": question}]
    return [*earlier, {**last, "content": joined([last["content"], question])}]


def wire_content(content: Content) -> WireContent:
    """Return a text unchanged, and parts in OpenAI's form. The rules of a server are applied to them later."""
    return content if isinstance(content, str) else [_wire_part(part) for part in content]


def _wire_part(part: Part) -> dict[str, Any]:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ImagePart(url=url, detail=detail):
            return {"type": "image_url", "image_url": {"url": url, **({"detail": detail} if detail else {})}}
        case FilePart(name=name) if part.is_text:
            return {"type": "text", "text": f"{name or 'A file'}:\n\n{part.text()}"}
        case FilePart(url=url, name=name):
            return {"type": "file", "file": {"file_data": url, **({"filename": name} if name else {})}}
        case AudioPart(url=url):
            return {"type": "input_audio", "input_audio": {"data": url.partition(",")[2], "format": part.format}}


def joined(contents: Sequence[WireContent]) -> WireContent:
    """Join contents: texts to one text, others to a list of parts."""
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return "\n\n".join(texts)
    return [part for content in contents for part in _parts(content)]


def _parts(content: WireContent) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


# The size


async def tokens(messages: Iterable[WireMessage]) -> int:
    """Estimate the messages' tokens, rather too many than too few. Long texts don't block the event loop."""
    return sum([await _tokens_of_message(message) for message in messages])


async def _tokens_of_message(message: WireMessage) -> int:
    state = {key: value for key, value in message.items() if key not in MESSAGE_KEYS}
    state_tokens = await _tokens(dumps(state)) if state else 0
    functions = [call["function"] for call in message.get("tool_calls", ())]
    call_tokens = [MESSAGE_TOKENS + await _tokens(function["name"] + function["arguments"]) for function in functions]
    return MESSAGE_TOKENS + await _tokens(message.get("content")) + sum(call_tokens) + state_tokens


async def _tokens(content: WireContent | None) -> int:
    if content is None or isinstance(content, str):
        return await _bytes(content or "") // BYTES_PER_TOKEN
    return sum([await _tokens_of_part(part) for part in content])


async def _tokens_of_part(part: dict[str, Any]) -> int:
    match part:
        case {"type": "text", "text": text}:
            return await _tokens(text)
        case {"type": "file", "file": {"file_data": data}} | {"type": "input_audio", "input_audio": {"data": data}}:
            return max(MEDIA_TOKENS, len(data) // CHARACTERS_PER_TOKEN)
        case _:
            return MEDIA_TOKENS


async def _bytes(text: str) -> int:
    """Return the length in UTF-8, counted in slices because 10 MB at once take 25 ms."""
    if text.isascii():  # this is immediate, and so common that it is worth a case of its own
        return len(text)
    size = 0
    for start in range(0, len(text), COUNTED_AT_ONCE):
        size += len(text[start : start + COUNTED_AT_ONCE].encode("utf-8", "replace"))
        if start:
            await asyncio.sleep(0)
    return size
