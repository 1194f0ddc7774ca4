"""The wire of a model turn: bytes of a chat completion stream in, deltas out. Pure; tolerant of what it doesn't know.

The shapes are those of `chat.completion.chunk`, with the extras that Dedalus and other servers are known to send:
reasoning under three names, `mcp_tool_results`, usage on the last or on a chunk of its own.
"""

import codecs
import json
import logging
from collections import defaultdict
from typing import Any, NamedTuple

from events import NO_USAGE, Usage
from services.json_text import Mender, loads, mend

logger = logging.getLogger(__name__)

CR, LF = b"\r\n"  # as numbers, since `in` for bytes in bytes raises and catches an error on its way
MAX_EVENT_BYTES = 16 * 1024 * 1024
KNOWN_KEYS = frozenset(
    ("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier", "provider")
)
EXTRA_KEYS = frozenset(("mcp_tool_results", "correlation_id", "timings", "obfuscation", "x_groq"))
CALL_KEYS = frozenset(("index", "id", "type", "function"))
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
MAX_SHAPES = 1000
_seen_shapes: set[tuple[str, ...]] = set()


class TextDelta(NamedTuple):
    """The next piece of the answer."""

    text: str


class ThinkingDelta(NamedTuple):
    """The next piece of the reasoning."""

    text: str


class CallDelta(NamedTuple):
    """A piece of the tool call in a slot. `extra`, a provider's signature perhaps, has to go back with the call."""

    slot: int | None
    call_id: str
    name: str
    arguments: str
    extra: dict[str, Any]


class HostedResult(NamedTuple):
    """What a tool gave that the upstream ran itself. It carries no call id."""

    name: str
    server: str | None
    arguments: dict[str, Any]
    result: Any
    is_error: bool
    duration_ms: int | None


Delta = TextDelta | ThinkingDelta | CallDelta | HostedResult


class ChatChunks:
    """Parses one turn.

    `finish_reason` and `usage` are known once the stream has said them. It is over when `done` ([DONE] has come),
    `fault` (an error that came as data) or `malformed` (something that is no chunk) is set.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._more: list[bytes] = []  # of an event longer than a read, what follows the rest
        self._after_cr = False
        self._menders: defaultdict[object, Mender] = defaultdict(Mender)
        self.finish_reason: str | None = None
        self.usage: Usage = NO_USAGE
        self.correlation_id: str | None = None
        self.done = False
        self.fault: dict[str, Any] | None = None
        self.malformed = False

    @property
    def over(self) -> bool:
        """Whether what follows no longer counts."""
        return self.done or self.malformed or self.fault is not None

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that these bytes complete, up to where the stream is over."""
        deltas: list[Delta] = []
        for name, payload in self._events(data):
            if payload == b"[DONE]":
                self.done = True
                break
            try:
                chunk, torn = loads(payload)
                if name == b"error" or _is_fault(chunk):
                    self.fault = chunk if isinstance(chunk, dict) else {"error": chunk}
                    break
                self._chunk(chunk, torn, deltas)
            except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
                logger.warning("the upstream sent what is no chunk: %.200r", payload, exc_info=True)
                self.malformed = True
                break
        return deltas

    def flush(self) -> list[Delta]:
        """What was held back of the text for a next piece that did not come."""
        return [kind(text) for kind in (ThinkingDelta, TextDelta) if (text := self._menders[kind].flush())]

    def _events(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Each complete server-sent event with data, as (name, data)."""
        if self._after_cr:
            data = data.removeprefix(b"\n")  # the second half of a CRLF
        self._after_cr = data.endswith(b"\r")
        if CR in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._more.append(data)
        if LF not in data:
            self.malformed = len(self._rest) + sum(map(len, self._more)) > MAX_EVENT_BYTES
            return []
        blocks = b"".join((self._rest, *self._more)).split(b"\n\n")
        self._more.clear()
        self._rest = blocks.pop()
        self.malformed = len(self._rest) > MAX_EVENT_BYTES
        events = []
        for block in blocks:
            if block.startswith(b"data: ") and LF not in block and len(block) > 6:
                events.append((b"", block[6:]))
            elif event := _fields(block):
                events.append(event)
        return events

    def _chunk(self, chunk: dict[str, Any], torn: bool, deltas: list[Delta]) -> None:
        if choices := chunk.get("choices"):
            choice = choices[0]
            if delta := choice.get("delta"):
                self._delta(delta, torn, deltas)
            if reason := choice.get("finish_reason"):
                self.finish_reason = str(reason)
        if (shape := tuple(chunk)) not in _seen_shapes:
            _note(shape)
        if usage := chunk.get("usage"):
            self.usage = _usage(usage)
        if results := chunk.get("mcp_tool_results"):
            deltas += [_hosted_result(mend(result) if torn else result) for result in results]
        if correlation := chunk.get("correlation_id"):
            self.correlation_id = str(correlation)

    def _delta(self, delta: dict[str, Any], torn: bool, deltas: list[Delta]) -> None:
        for key in REASONING_KEYS:
            if (said := delta.get(key)) and (text := self._mended(ThinkingDelta, _thought(said), torn)):
                deltas.append(ThinkingDelta(text))
                break
        if content := delta.get("content") or delta.get("refusal"):
            if isinstance(content, str):
                if text := self._mended(TextDelta, content, torn):
                    deltas.append(TextDelta(text))
            else:
                for part in content:
                    kind = ThinkingDelta if part.get("type") == "thinking" else TextDelta
                    if text := self._mended(kind, _thought(part), torn):
                        deltas.append(kind(text))
        if calls := delta.get("tool_calls"):
            deltas += [self._call(call, torn) for call in calls]

    def _call(self, call: dict[str, Any], torn: bool) -> CallDelta:
        index = call.get("index")
        function = call.get("function") or {}
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):  # some servers send the object itself
            arguments = json.dumps(arguments)
        arguments = self._mended(index, arguments, torn)
        rest = {key: value for key, value in call.items() if key not in CALL_KEYS}
        call_id, name = call.get("id") or "", function.get("name") or ""
        if not (isinstance(call_id, str) and isinstance(name, str) and isinstance(index, int | None)):
            raise TypeError("the id, name or index of a tool call")
        if torn:
            call_id, name, rest = mend([call_id, name, rest])
        return CallDelta(index, call_id, name, arguments, rest)

    def _mended(self, kind: object, text: str, torn: bool) -> str:
        if not torn and not self._menders:
            return text
        return self._menders[kind].feed(text)


def _is_fault(chunk: dict[str, Any]) -> bool:
    """An error, in one of the two shapes that servers use; some send choices beside it."""
    return bool(chunk.get("error")) or ("detail" in chunk and not chunk.get("choices"))


def _fields(block: bytes) -> tuple[bytes, bytes] | None:
    """The name and the data of an event in its general form; None for one without data, such as a comment."""
    name, data = b"", []
    for line in block.removeprefix(codecs.BOM_UTF8).split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    payload = b"\n".join(data)
    return (name, payload) if payload else None


def _note(shape: tuple[str, ...]) -> None:
    """Say once which top-level keys a chunk has that this service doesn't know."""
    if len(_seen_shapes) < MAX_SHAPES:
        _seen_shapes.add(shape)
        if unknown := set(shape) - KNOWN_KEYS - EXTRA_KEYS:
            logger.info("the upstream's chunks have keys that are not used here: %s", sorted(unknown))


def _thought(said: object) -> str:
    """Text of a reasoning field or content part: a string, `{"text" | "thinking": …}`, or a list of these."""
    match said:
        case str():
            return said
        case list():
            return "".join(map(_thought, said))
        case {"thinking": inner} | {"text": inner}:
            return _thought(inner)
        case _:
            return ""


def _usage(said: dict[str, Any]) -> Usage:
    """Usage as OpenAI counts it, or as far as the server does."""
    prompt = said.get("prompt_tokens_details") or {}
    completion = said.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=said.get("prompt_tokens"),
        output_tokens=said.get("completion_tokens"),
        total_tokens=said.get("total_tokens"),
        reasoning_tokens=completion.get("reasoning_tokens"),
        cached_input_tokens=prompt.get("cached_tokens"),
    )


def _hosted_result(said: dict[str, Any]) -> HostedResult:
    arguments = said.get("arguments")
    duration = said.get("duration_ms")
    return HostedResult(
        name=str(said["tool_name"]),
        server=str(server) if (server := said.get("server_name")) else None,
        arguments=arguments if isinstance(arguments, dict) else {},
        result=said.get("result"),
        is_error=bool(said.get("is_error")),
        duration_ms=None if duration is None else round(duration),
    )
