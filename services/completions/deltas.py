"""What a chunk of an answer says, as deltas, in the shapes in which servers are known to say it. Pure.

Beside those of `chat.completion.chunk`: a whole `message`, `text`, `function_call`, content in parts, flat calls, ids
and indices of other types, `mcp_tool_results` of Dedalus.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from json_codec.text import mend
from services.completions.call_arguments import read_arguments
from services.completions.error_shapes import says_error
from services.completions.usage import count_of

ARGUMENT_KEYS = ("arguments", "parameters", "input", "args")  # of OpenAI, Llama, Anthropic, Gemini
FUNCTION_KEYS = frozenset(("name", *ARGUMENT_KEYS))
CALL_KEYS = FUNCTION_KEYS | {"index", "id", "type", "function"}
THOUGHT_PARTS = frozenset(("thinking", "reasoning", "reasoning.text", "reasoning.summary", "thought"))
TEXT_KEYS = ("text", "thinking", "summary", "content", "refusal", "value", "parts")
MOST_CALLS = 1001  # that are looked at in one chunk: a turn that may have 1000 fails with them
TOOL_KEYS = ("tool_name", "name", "tool")
WRAPPERS = ("output", "data", "result", "response")
MAX_DEPTH = 8  # of parts in parts


class TextDelta(NamedTuple):
    """The next piece of the answer."""

    text: str


class ThinkingDelta(NamedTuple):
    """The next piece of the reasoning."""

    text: str


Label = int | str
"""What marks the pieces of one call: its index, or what stands in the index's place."""


class CallDelta(NamedTuple):
    """A piece of the tool call in a slot. `extra`, a provider's signature perhaps, has to go back with the call."""

    slot: Label | None
    call_id: str
    name: str
    arguments: str
    extra: dict[str, Any]


class HostedResult(NamedTuple):
    """What a tool gave that the upstream ran itself. It carries no call id. Its name is empty where it wasn't told."""

    name: str
    server: str | None
    arguments: dict[str, Any]
    result: Any
    is_error: bool
    duration_ms: int | None


Delta = TextDelta | ThinkingDelta | CallDelta | HostedResult


def wrapped_choices(chunk: Mapping[str, Any]) -> Any:
    """The choices of a chunk that a gateway, or Alibaba's own API, wraps in another object, if there are any."""
    inner = (chunk.get(name) for name in WRAPPERS)
    return next((part["choices"] for part in inner if isinstance(part, dict) and part.get("choices")), None)


def first_choice(choices: object) -> dict[str, Any] | None:
    """The choice with index 0, which is the answer; one without an index is the first, and `null` is none.

    Raise TypeError for what is no list of choices.
    """
    if not isinstance(choices, list):
        raise TypeError("choices that are no list")
    said = [choice for choice in choices if choice is not None]
    if not all(isinstance(choice, dict) for choice in said):
        raise TypeError("a choice that is no object")
    return next((choice for choice in said if whole_number(choice.get("index")) in (0, None)), None)


def whole_number(said: object) -> int | None:
    """An index, also as text or as a float. Raise TypeError or ValueError for what is none."""
    match said:
        case None | "":
            return None
        case bool():
            raise TypeError("a truth value as an index")
        case int() | str():
            return int(said)
        case float() if said.is_integer():
            return int(said)
        case _:
            raise TypeError("what is no index")


def call_deltas(calls: Any, torn: bool, *, whole: bool = False) -> Iterator[CallDelta]:
    """The pieces of calls in `tool_calls`. In a `whole` message each is a call of its own, with or without an index.

    Raise LookupError, TypeError or ValueError for what is no call.
    """
    for place, call in enumerate([calls] if isinstance(calls, dict) else calls[:MOST_CALLS]):
        if call is not None:
            delta = _call(call)
            if whole and delta.slot is None:
                delta = delta._replace(slot=place)
            yield _mended(delta) if torn else delta


def function_call_delta(said: dict[str, Any], torn: bool) -> CallDelta:
    """A piece of the one call of OpenAI's older form, `function_call`."""
    delta = _call({"index": 0, "function": said})
    return _mended(delta) if torn else delta


def _call(call: dict[str, Any]) -> CallDelta:
    function = call.get("function") or {}
    name = function.get("name") or call.get("name") or ""
    if not isinstance(name, str):
        raise TypeError("the name of a tool call")
    said = next((part[key] for part in (function, call) for key in ARGUMENT_KEYS if part.get(key) is not None), None)
    rest = {key: value for key, value in call.items() if key not in CALL_KEYS}
    if inner := {key: value for key, value in function.items() if key not in FUNCTION_KEYS}:
        rest["function"] = inner  # LiteLLM puts Gemini's signature there
    return CallDelta(_label(call.get("index")), _identifier(call.get("id")), name, _arguments(said), rest)


def _label(said: object) -> Label | None:
    """An index: a whole number however it is written, else its text, which marks a call as well. None for none."""
    try:
        return whole_number(said)
    except (TypeError, ValueError):
        return said if isinstance(said, str) else json.dumps(said)


def _identifier(said: object) -> str:
    """An id as text, whatever its type; empty where there is none."""
    if isinstance(said, str):
        return said
    return "" if said is None else json.dumps(said)


def _arguments(said: object) -> str:
    """JSON text; some servers send the object itself."""
    if isinstance(said, str):
        return said
    return "" if said is None else json.dumps(said)


def _mended(delta: CallDelta) -> CallDelta:
    """The delta without lone surrogates, but for its arguments, whose next piece may have the other half."""
    call_id, name, extra = mend([delta.call_id, delta.name, delta.extra])
    return delta._replace(call_id=call_id, name=name, extra=extra)


Part = tuple[type[TextDelta] | type[ThinkingDelta], str]


def content_parts(content: object) -> Iterator[Part]:
    """The text and the thinking in a `content` that is no string: a part, or a list of parts and strings.

    Parts that hold neither, such as images, are passed over. Raise TypeError for what can't be content.
    """
    if not isinstance(content, dict | list):
        raise TypeError("content that is neither text nor parts")
    for part in content if isinstance(content, list) else [content]:
        if text := plain_text(part):
            thought = isinstance(part, dict) and part.get("type") in THOUGHT_PARTS
            yield (ThinkingDelta if thought else TextDelta), text


def plain_text(said: object, depth: int = 0) -> str:
    """The text of a reasoning field or of a content part: a string, an object around one, or a list of these."""
    match said:
        case str():
            return said
        case list() if depth < MAX_DEPTH:
            return "".join(plain_text(part, depth + 1) for part in said)
        case dict() if depth < MAX_DEPTH:
            inner = next((said[key] for key in TEXT_KEYS if said.get(key)), None)
            return plain_text(inner, depth + 1)
        case _:
            return ""


def hosted_results(said: object, torn: bool) -> Iterator[HostedResult]:
    """The entries of Dedalus' `mcp_tool_results`. What is none is passed over: it is not the answer."""
    for entry in said[:MOST_CALLS] if isinstance(said, list) else [said]:
        if isinstance(entry, dict):
            yield _hosted_result(mend(entry) if torn else entry)


def _hosted_result(said: Mapping[str, Any]) -> HostedResult:
    name = next((said[key] for key in TOOL_KEYS if said.get(key)), "")
    return HostedResult(
        name=str(name),
        server=str(server) if (server := said.get("server_name")) else None,
        arguments=read_arguments([_arguments(said.get("arguments"))]).value,
        result=said.get("result"),
        is_error=says_error(said.get("is_error")),
        duration_ms=count_of(said.get("duration_ms")),
    )
