"""Makes deltas from the parts of a chunk, in every shape that servers are known to send. Pure.

Beside the shapes of `chat.completion.chunk` these are: a whole `message`, `text`, `function_call`, content in parts,
flat calls, ids and indices of other types, and `mcp_tool_results` of Dedalus.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from json_codec.text import mend
from services.completions.call_arguments import read_arguments
from services.completions.error_shapes import means_error_value
from services.completions.usage import count_of

ARGUMENT_KEYS = ("arguments", "parameters", "input", "args")  # of OpenAI, Llama, Anthropic, Gemini
FUNCTION_KEYS = frozenset(("name", *ARGUMENT_KEYS))
CALL_KEYS = FUNCTION_KEYS | {"index", "id", "type", "function"}
THOUGHT_PARTS = frozenset(("thinking", "reasoning", "reasoning.text", "reasoning.summary", "thought"))
TEXT_KEYS = ("text", "thinking", "summary", "content", "refusal", "value", "parts")
MAX_CALLS = 1001  # read from one chunk: one more than a turn may have, so that a turn with too many fails
TOOL_KEYS = ("tool_name", "name", "tool")
WRAPPERS = ("output", "data", "result", "response")
MAX_DEPTH = 8  # of content parts within parts


class TextDelta(NamedTuple):
    """The next piece of the answer."""

    text: str


class ThinkingDelta(NamedTuple):
    """The next piece of the reasoning."""

    text: str


Label = int | str
"""Marks the pieces of one call: its index, or the value that a server sends in the index's place."""


class CallDelta(NamedTuple):
    """A piece of the tool call in a slot. `extra`, such as a signature, has to be sent back with the call."""

    slot: Label | None
    call_id: str
    name: str
    arguments: str
    extra: dict[str, Any]


class HostedResult(NamedTuple):
    """The result of a tool that the upstream ran itself. It has no call id. The name is empty if it is unknown."""

    name: str
    server: str | None
    arguments: dict[str, Any]
    result: Any
    is_error: bool
    duration_ms: int | None


class SourceDelta(NamedTuple):
    """A page that the answer cites. Its texts come from the page, on one line each."""

    url: str
    title: str | None
    snippet: str | None


Delta = TextDelta | ThinkingDelta | CallDelta | HostedResult | SourceDelta


def wrapped_choices(chunk: Mapping[str, Any]) -> Any:
    """Return the choices that a gateway, or Alibaba's own API, wraps in another object; None if there are none."""
    wrapped = (chunk.get(name) for name in WRAPPERS)
    return next((inner["choices"] for inner in wrapped if isinstance(inner, dict) and inner.get("choices")), None)


def first_choice(choices: object) -> dict[str, Any] | None:
    """Return the choice that is the answer: the first with index 0 or without one. None if there is none.

    Raise TypeError if it is not a list of choices. A `null` in the list is left out.
    """
    if not isinstance(choices, list):
        raise TypeError("choices that are not a list")
    present = [choice for choice in choices if choice is not None]
    if not all(isinstance(choice, dict) for choice in present):
        raise TypeError("a choice that is not an object")
    return next((choice for choice in present if whole_number(choice.get("index")) in (0, None)), None)


def whole_number(value: object) -> int | None:
    """Read an index, which may also be text or a float. Raise TypeError or ValueError for another value."""
    match value:
        case None | "":
            return None
        case bool():
            raise TypeError("a truth value as an index")
        case int() | str():
            return int(value)
        case float() if value.is_integer():
            return int(value)
        case _:
            raise TypeError("not an index")


def call_deltas(calls: Any, has_surrogates: bool, *, whole: bool = False) -> Iterator[CallDelta]:
    """Yield the pieces of calls in `tool_calls`. In a `whole` message each one without an index is a call of its own.

    Raise LookupError, TypeError or ValueError for a value that is not a call.
    """
    for position, call in enumerate([calls] if isinstance(calls, dict) else calls[:MAX_CALLS]):
        if call is not None:
            delta = _call(call)
            if whole and delta.slot is None:
                delta = delta._replace(slot=position)
            yield _mended(delta) if has_surrogates else delta


def function_call_delta(call: dict[str, Any], has_surrogates: bool) -> CallDelta:
    """Return a piece of the one call of OpenAI's older form, `function_call`."""
    delta = _call({"index": 0, "function": call})
    return _mended(delta) if has_surrogates else delta


def _call(call: dict[str, Any]) -> CallDelta:
    function = call.get("function") or {}
    name = function.get("name") or call.get("name") or ""
    if not isinstance(name, str):
        raise TypeError("the name of a tool call")
    places = ((part, key) for part in (function, call) for key in ARGUMENT_KEYS)
    arguments = next((part[key] for part, key in places if part.get(key) is not None), None)
    extra = {key: value for key, value in call.items() if key not in CALL_KEYS}
    if inner := {key: value for key, value in function.items() if key not in FUNCTION_KEYS}:
        extra["function"] = inner  # LiteLLM puts Gemini's signature there
    return CallDelta(_label(call.get("index")), _as_text(call.get("id")), name, _as_text(arguments), extra)


def _label(index: object) -> Label | None:
    """Return an index as a whole number if it is one, else as text, which marks a call as well. None if missing."""
    try:
        return whole_number(index)
    except (TypeError, ValueError):
        return _as_text(index)


def _as_text(value: object) -> str:
    """Return an id, or a call's arguments, as text: some servers send numbers and objects. Empty if it is missing."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def _mended(delta: CallDelta) -> CallDelta:
    """Replace lone surrogates, except in the arguments, whose next piece may bring the other half."""
    call_id, name, extra = mend([delta.call_id, delta.name, delta.extra])
    return delta._replace(call_id=call_id, name=name, extra=extra)


Part = tuple[type[TextDelta] | type[ThinkingDelta], str]


def content_parts(content: object) -> Iterator[Part]:
    """Yield the text and the thinking of a `content` that is a part, or a list of parts and strings.

    Parts that hold neither, such as images, are left out. Raise TypeError for a value that can't be content.
    """
    if not isinstance(content, dict | list):
        raise TypeError("content that is neither text nor parts")
    for part in content if isinstance(content, list) else [content]:
        if text := plain_text(part):
            thought = isinstance(part, dict) and part.get("type") in THOUGHT_PARTS
            yield (ThinkingDelta if thought else TextDelta), text


def plain_text(value: object, depth: int = 0) -> str:
    """Return the text of a reasoning field or a content part: a string, an object around one, or a list of these."""
    match value:
        case str():
            return value
        case list() if depth < MAX_DEPTH:
            return "".join(plain_text(part, depth + 1) for part in value)
        case dict() if depth < MAX_DEPTH:
            inner = next((value[key] for key in TEXT_KEYS if value.get(key)), None)
            return plain_text(inner, depth + 1)
        case _:
            return ""


def hosted_results(results: object, has_surrogates: bool) -> Iterator[HostedResult]:
    """Yield the entries of Dedalus' `mcp_tool_results`. Others are left out, as they are no part of the answer."""
    for entry in results[:MAX_CALLS] if isinstance(results, list) else [results]:
        if isinstance(entry, dict):
            yield _hosted_result(mend(entry) if has_surrogates else entry)


def _hosted_result(entry: Mapping[str, Any]) -> HostedResult:
    name = next((entry[key] for key in TOOL_KEYS if entry.get(key)), "")
    return HostedResult(
        name=str(name),
        server=str(server) if (server := entry.get("server_name")) else None,
        arguments=read_arguments([_as_text(entry.get("arguments"))]).value,
        result=entry.get("result"),
        is_error=means_error_value(entry.get("is_error")),
        duration_ms=count_of(entry.get("duration_ms")),
    )
