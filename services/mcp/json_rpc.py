"""Reads JSON-RPC as MCP servers write it, and writes it as the SDK's parser accepts it.

The SDK refuses messages that other clients accept: with lone surrogates, bytes that aren't UTF-8, `NaN`, or without
`jsonrpc`. Over stdio it drops such a line, and the call waits until its timeout. So messages are mended here first.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from json_codec.text import dumps, loads

MAX_MENDED = 1024 * 1024  # bytes of a message that has to be rewritten, which takes about 20 ms

OPENING = re.compile(r"[\s,]*([{\[])")
OBJECT = re.compile(r'(?:\[\s*)?\{\s*"')  # the start of a message within other text
ANSWER_FIELDS = frozenset({"jsonrpc", "id", "result", "error"})
INTEGER = re.compile(r"-?\d{1,9}")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")

RequestId = int | str
Message = dict[str, Any]


def sound_message(data: bytes, request: RequestId | None) -> bytes | None:
    """Return a message as the SDK's parser accepts it, None if the data aren't a message.

    `request` is the id of the request that the message answers for certain. Without it, a message has to say that it
    is JSON-RPC, or to have the fields of an answer and no others: log lines in JSON don't.
    """
    value, is_strict = _parsed(data)
    if isinstance(value, list) and request is not None:  # a batch, which the protocol had in version 2025-03-26
        value, is_strict = next(filter(_is_outcome, _objects(value)), None), False
    message = _sound_fields(value, request) if isinstance(value, dict) else {}
    if "id" in message and message["id"] is None:
        return None  # an error without an id: `sound_messages` may know which request it answers
    if is_strict and message and message == value and type(value.get("id")) is not float:
        return data  # already sound, so it isn't written again
    return _written(message) if message else None


def sound_messages(data: bytes, unnamed: RequestId | None) -> list[bytes]:
    """Return the messages of a batch, or of several JSON values in a row, each as the SDK's parser accepts it.

    `unnamed` is the id of the request that an error without an id answers, if that is known.
    """
    value, _ = _parsed(data)
    messages = (_sound_fields(each, None, unnamed) for each in _objects(value))
    return [_written(message) for message in messages if message]


def error_message(request: RequestId, code: int, text: str) -> bytes:
    """Write a JSON-RPC error in answer to a request."""
    return json.dumps({"jsonrpc": "2.0", "id": request, "error": {"code": code, "message": text}}).encode()


def _objects(value: Any) -> list[Message]:
    several = value if isinstance(value, list) else [value]
    return [each for each in several if isinstance(each, dict)]


def _written(message: Mapping[str, Any]) -> bytes:
    return LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", dumps(message)).encode()


def _parsed(data: bytes) -> tuple[Any, bool]:
    """Return the JSON value, None if there is none, and whether the SDK's parser reads the data in the same way.

    If it doesn't, the data are read tolerantly. Bytes that aren't UTF-8 become U+FFFD, `NaN` and numbers too large for
    a float become text, and control characters and lone surrogates stay in strings. Several values in a row, as two
    threads write them, are read as a list. Text after a value is dropped, and text before the first object, such as a
    warning that PHP prints into a body.
    """
    try:
        value, may_have_surrogates = loads(data)
        if not may_have_surrogates:
            return value, True
    except ValueError:
        pass
    if len(data) > MAX_MENDED:
        return None, False
    text = data.decode("utf-8-sig", "replace")
    start = OBJECT.search(text)
    values = list(_values(text, start.start() if start else 0))
    return values[0] if len(values) == 1 else values or None, False


def _values(text: str, position: int) -> Iterator[Any]:
    """Yield the objects and arrays that follow each other from a position on, up to the first that isn't JSON.

    Commas may stand between them, as in a batch whose bracket came before.
    """
    while opening := OPENING.match(text, position):
        try:
            value, position = TOLERANT.raw_decode(text, opening.start(1))
        except (ValueError, RecursionError):
            return
        yield value


def _number(digits: str) -> float | str:
    """Return the number, or its digits if it is too large for a float."""
    value = float(digits)
    return value if math.isfinite(value) else digits


TOLERANT = json.JSONDecoder(parse_constant=str, parse_float=_number, strict=False)


def _sound_fields(message: Message, request: RequestId | None, unnamed: RequestId | None = None) -> Message:
    """Return the fields of a JSON-RPC message, each of the right type. Returns nothing if it isn't a message.

    An error may lack an id, such as that of a server that couldn't read the request.
    """
    is_declared = message.get("jsonrpc") == "2.0"
    if request is None and not is_declared and not _looks_like_answer(message):
        return {}
    if isinstance(message.get("method"), str) and not _is_outcome(message):
        if request is not None:
            return {}  # a request or notification of the server, where an answer is expected
        fields = {key: value for key, value in message.items() if key != "params" or isinstance(value, dict)}
        return {**fields, "jsonrpc": "2.0"}
    answered = request if request is not None else _request_id(message.get("id"))
    error = message.get("error")
    if is_declared and answered is None and error is not None and message.get("id") is None:
        return {"jsonrpc": "2.0", "id": unnamed, "error": _sound_error(error)}
    if answered is None:
        return {}
    if error is not None:
        return {"jsonrpc": "2.0", "id": answered, "error": _sound_error(error)}
    if "result" not in message:
        return {}
    result = message["result"]
    return {"jsonrpc": "2.0", "id": answered, "result": result if isinstance(result, dict) else {"content": result}}


def _is_outcome(message: Message) -> bool:
    """Return whether a message has a result or an error, whatever else it has."""
    return message.get("result") is not None or message.get("error") is not None


def _looks_like_answer(message: Message) -> bool:
    """Return whether a message that doesn't say that it is JSON-RPC has the form of an answer."""
    return message.keys() <= ANSWER_FIELDS and isinstance(message.get("result", message.get("error")), dict)


def _request_id(value: Any) -> RequestId | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _sound_error(value: Any) -> dict[str, Any]:
    """Make an error object of whatever the server has in its place."""
    fields = value if isinstance(value, dict) else {"message": value}
    code, message = _integer(fields.get("code")), fields.get("message")
    if message is None:  # it may have another name
        message = {name: field for name, field in fields.items() if name not in ("code", "data")} or "no reason given"
    error = {
        "code": -32603 if code is None else code,  # JSON-RPC's "internal error"
        "message": message if isinstance(message, str) else dumps(message),
    }
    return error | ({"data": fields["data"]} if "data" in fields else {})


def _integer(value: Any) -> int | None:
    """Return an integer that may be written as text, or with a fraction of zero. None for anything else."""
    if isinstance(value, str) and INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
