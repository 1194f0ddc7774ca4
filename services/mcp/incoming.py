"""One message from an MCP server: its bytes made into JSON-RPC that the SDK's parser takes, in bounded time and memory.

The SDK refuses what other clients read: half a surrogate pair, bytes that aren't UTF-8, `NaN`, an answer without its
`jsonrpc`. Over stdio it drops such a line, and the call waits for its whole time. So each message passes here before
the SDK sees it, and what can't be read becomes an error in answer to the same request.
"""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from json_codec.scan import JsonLimits, JsonScan, JsonTooLarge, slices
from json_codec.text import dumps, loads
from services.mcp.failures import UNREADABLE

MAX_BYTES = 6 * 1024 * 1024  # more than a model can be shown; parsers take 40 ms at most, of escapes alone
MAX_MENDED = 1024 * 1024  # bytes of a message that has to be written anew, which takes some 20 ms
LIMITS = JsonLimits(values=60_000, depth=128)  # the SDK's parser takes 20 ms
EDGE = 1024  # bytes of the beginning and the end of a message that is too large, where its id is looked for

ID = rb'"id"\s*:\s*(-?\d{1,18}|"[^"\\]{0,200}")\s*'
ID_AT_THE_BEGINNING = re.compile(rb"\s*\{[^{}\[\]]*?" + ID + rb",")
ID_AT_THE_END = re.compile(rb"[}\]\d\"le]\s*,[^{}\[\]]*?" + ID + rb"(?:,[^{}\[\]]*)?\}\s*$")

OPENING = re.compile(r"[\s,]*([{\[])")
OBJECT = re.compile(r'(?:\[\s*)?\{\s*"')  # the beginning of a message within other text
OF_AN_ANSWER = frozenset({"jsonrpc", "id", "result", "error"})
WHOLE = re.compile(r"-?\d{1,9}")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")

RequestId = int | str


class Incoming:
    """A message that comes in piece by piece. Of one that passes a limit, only its edges are kept."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self._scan = JsonScan(LIMITS)
        self._fault: str | None = None
        self._edges: tuple[bytes, bytes] | None = None

    def __len__(self) -> int:
        """The bytes so far."""
        return self._size

    def add(self, data: bytes) -> None:
        """Add the next bytes."""
        for piece in slices(data):
            self._size += len(piece)
            if self._edges is not None:
                self._edges = self._edges[0], (self._edges[1] + piece)[-EDGE:]
                continue
            self._pieces.append(piece)
            self._check(piece)

    @property
    def too_large(self) -> bool:
        """Whether it has passed a limit."""
        return self._fault is not None

    def read(self, request: RequestId | None = None) -> bytes | None:
        """The message; None where it can't be read, or is none.

        `request` is the id of the request that it surely answers. Without it, a message has to say that it is
        JSON-RPC, or has to have the fields of an answer and no others, as log lines in JSON don't.
        """
        return _sound(b"".join(self._pieces), request) if self._fault is None else None

    def read_all(self, unnamed: RequestId | None = None) -> list[bytes]:
        """The messages of a batch, or of several JSON values without a line break between them, each on one line.

        `unnamed` is the id of the request that an error without an id answers, if that is known.
        """
        if self._fault is not None:
            return []
        value, _ = _parsed(b"".join(self._pieces))
        return [_written(fields) for each in _several(value) if (fields := _fields(each, None, unnamed))]

    def refusal(self, request: RequestId, fault: str = "it is not JSON-RPC") -> bytes:
        """An error in its place, with the limit that it passed, or this fault."""
        return error(request, UNREADABLE, self._fault or fault)

    @property
    def is_brace(self) -> bool:
        """Whether it is one brace so far, as the first line of an object that is written over several."""
        return self._size <= len(b"{\r") and b"".join(self._pieces).strip() == b"{"

    @property
    def answered(self) -> RequestId | None:
        """The id of the request that it answers, where that can be made out although it can't be read."""
        return _id(*(self._edges or _edges_of(b"".join(self._pieces))))

    def mentions(self, word: bytes) -> bool:
        """Whether a word is in its beginning, in any case."""
        return word in b"".join(self._pieces)[:EDGE].lower()

    def _check(self, piece: bytes) -> None:
        try:
            self._scan.feed(piece)
        except JsonTooLarge:
            self._drop(f"it holds more than {LIMITS.values} values, or nests deeper than {LIMITS.depth}")
        if self._size > self._max_bytes and self._fault is None:
            self._drop(f"it is larger than {self._max_bytes // 1024} KiB")

    def _drop(self, fault: str) -> None:
        self._fault, self._edges = fault, _edges_of(b"".join(self._pieces))
        self._pieces.clear()


class PerSecond:
    """An amount that may come within a second."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._amount = 0
        self._since = time.monotonic()

    def passed_by(self, more: int) -> bool:
        """Count more of it, and say whether the limit is passed."""
        now = time.monotonic()
        if now > self._since + 1:
            self._amount, self._since = 0, now
        self._amount += more
        return self._amount > self._limit


def error(request: RequestId, code: int, message: str) -> bytes:
    """A JSON-RPC error in answer to a request."""
    said = {"jsonrpc": "2.0", "id": request, "error": {"code": code, "message": message}}
    return json.dumps(said).encode()


def _edges_of(data: bytes) -> tuple[bytes, bytes]:
    return data[:EDGE], data[-EDGE:]


def _id(beginning: bytes, end: bytes) -> RequestId | None:
    """The id of a message of which only the edges are known, where it stands before or after what is large."""
    for find, edge in ((ID_AT_THE_BEGINNING.match, beginning), (ID_AT_THE_END.search, end)):
        if b'"jsonrpc"' in edge and (found := find(edge)):
            said: RequestId = json.loads(found[1])
            return said
    return None


def _sound(data: bytes, request: RequestId | None) -> bytes | None:
    """The message as the SDK's parser takes it; None for what is none."""
    value, plain = _parsed(data)
    if isinstance(value, list) and request is not None:  # a batch, as the protocol had them for a while
        value, plain = next(filter(_answers, _several(value)), None), False
    sound = _fields(value, request) if isinstance(value, dict) else {}
    if "id" in sound and sound["id"] is None:
        return None  # an error of which `read_all` may know whose it is
    if plain and sound and sound == value and type(value.get("id")) is not float:
        return data
    return _written(sound) if sound else None


def _answers(message: dict[str, Any]) -> bool:
    """Whether a message is an answer, whatever else it says."""
    return message.get("result") is not None or message.get("error") is not None


def _several(value: Any) -> list[dict[str, Any]]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]


def _written(message: Mapping[str, Any]) -> bytes:
    return LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", dumps(message)).encode()


def _parsed(data: bytes) -> tuple[Any, bool]:
    """The JSON value, and whether the SDK's parser reads it likewise. None for what is no JSON.

    Where it doesn't, bytes that aren't UTF-8 become U+FFFD, `NaN` and numbers beyond all limits become text, and
    control characters in strings are taken as they are. Half a surrogate pair stays. Several values without a line
    break between them, as two threads write them, are read as a list. Other text is dropped: what stands after a value,
    and what stands before the first object, such as a warning that PHP prints into a body.
    """
    try:
        value, odd = loads(data)
        if not odd:
            return value, True
    except ValueError:
        pass
    if len(data) > MAX_MENDED:
        return None, False
    text = data.decode("utf-8-sig", "replace")
    begins = OBJECT.search(text)
    values = list(_values(text, begins.start() if begins else 0))
    return values[0] if len(values) == 1 else values or None, False


def _values(text: str, place: int) -> Iterator[Any]:
    """The objects and arrays that follow each other in a text from a place on, until something is no JSON.

    Commas may stand between them, as in a batch whose bracket came before.
    """
    while opening := OPENING.match(text, place):
        try:
            value, place = TOLERANT.raw_decode(text, opening.start(1))
        except (ValueError, RecursionError):
            return
        yield value


def _number(digits: str) -> float | str:
    """The number, or its digits where it is too large for one."""
    value = float(digits)
    return value if math.isfinite(value) else digits


TOLERANT = json.JSONDecoder(parse_constant=str, parse_float=_number, strict=False)


def _fields(message: dict[str, Any], request: RequestId | None, unnamed: RequestId | None = None) -> dict[str, Any]:
    """The fields of a JSON-RPC message, each of the type that it has to be of; none of something else.

    An error may be without an id, as that of a server that couldn't read the request.
    """
    said = message.get("jsonrpc") == "2.0"
    if request is None and not said and not _is_answer(message):
        return {}
    if isinstance(message.get("method"), str) and not _answers(message):
        if request is not None:
            return {}  # the server asks or notifies, in the place of an answer
        kept = {key: value for key, value in message.items() if key != "params" or isinstance(value, dict)}
        return {**kept, "jsonrpc": "2.0"}
    answered = request if request is not None else _request_id(message.get("id"))
    failed = message.get("error")
    if said and answered is None and failed is not None and message.get("id") is None:
        return {"jsonrpc": "2.0", "id": unnamed, "error": _failure(failed)}
    if answered is None:
        return {}
    answer = {"jsonrpc": "2.0", "id": answered}
    if failed is not None:
        return {**answer, "error": _failure(failed)}
    if "result" not in message:
        return {}
    result = message["result"]
    return {**answer, "result": result if isinstance(result, dict) else {"content": result}}


def _is_answer(message: dict[str, Any]) -> bool:
    """Whether it is one although it doesn't say that it is JSON-RPC 2.0."""
    return message.keys() <= OF_AN_ANSWER and isinstance(message.get("result", message.get("error")), dict)


def _request_id(said: Any) -> RequestId | None:
    if isinstance(said, float) and said.is_integer():
        return int(said)
    return said if isinstance(said, int | str) and not isinstance(said, bool) else None


def _failure(said: Any) -> dict[str, Any]:
    """An error object, of whatever the server has in its place."""
    fields = said if isinstance(said, dict) else {"message": said}
    code, message = _whole(fields.get("code")), fields.get("message")
    if message is None:  # it may be under another name
        message = {name: value for name, value in fields.items() if name not in ("code", "data")} or "no reason given"
    known = {
        "code": -32603 if code is None else code,
        "message": message if isinstance(message, str) else dumps(message),
    }
    return known | ({"data": fields["data"]} if "data" in fields else {})


def _whole(number: Any) -> int | None:
    """A whole number, also where it is written as text or with a fraction of zero."""
    if isinstance(number, str) and WHOLE.fullmatch(number):
        return int(number)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number if isinstance(number, int) and not isinstance(number, bool) else None
