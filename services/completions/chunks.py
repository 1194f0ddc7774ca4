"""The wire of a model turn: the bytes of a chat completion stream in, deltas out. Pure.

What each thing that comes means is the table in docs/upstreams.md.
"""

import logging
import re
import sys
from typing import Any

from events import NO_USAGE, Usage
from json_codec.scan import JsonLimits, scan
from json_codec.text import loads_leniently
from services.completions.answer_pieces import AnswerPieces
from services.completions.deltas import (
    CallDelta,
    Delta,
    HostedResult,
    TextDelta,
    ThinkingDelta,
    first_choice,
    hosted_results,
    wrapped_choices,
)
from services.completions.error_shapes import is_error, is_failed_choice, is_kind_of_error
from services.completions.finish_reasons import CALL_REASONS, means_cut, means_error, reason_of
from services.completions.sse_events import SseEvents
from services.completions.think_tags import ThinkTags
from services.completions.usage import usage_of

__all__ = ["CallDelta", "ChatChunks", "Delta", "HostedResult", "TextDelta", "ThinkingDelta"]

logger = logging.getLogger(__name__)

ODD = (AttributeError, LookupError, TypeError, ValueError, RecursionError)  # what a chunk of another shape raises
LARGE_BYTES = 64 * 1024  # of an event that is scanned before it is parsed
LIMITS = JsonLimits(values=100_000, depth=sys.maxsize, number=sys.maxsize)
"""Of one event: 100,000 values are parsed in some 20 ms, in which no other stream goes on."""
OBJECT = ord("{")
PLAIN_KEYS = frozenset(
    ("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier", "provider")
)
KNOWN_KEYS = PLAIN_KEYS | {"mcp_tool_results", "correlation_id", "timings", "obfuscation", "x_groq"}
KEEPALIVE = re.compile(
    rb"|\.+|:.*|\W*(null|undefined|none|ping|pong|keep[ _-]?alive|heart[ _-]?beat)\b[\W\dTZ]*", re.IGNORECASE
)
"""Nothing, a comment that a proxy has made into data, or one of the known words, in brackets or before a time."""
ANSWER_KEYS = frozenset(("choices", "usage", "mcp_tool_results"))
PIECES = (b'"delta"', b'"message"')  # what a chunk that holds a piece of the answer has
MAX_SHAPES = 1000
_shapes: dict[tuple[str, ...], bool] = {}


class ChatChunks:
    """Parses one turn: feed it each read, then `last` at the end of the body, then `flush`.

    `finish_reason` and `usage` are known once the stream has said them. It is over when `done` (nothing that follows
    counts), `fault` (an error that came as data) or `malformed` (something that is no chunk) is set. `tags` tell
    thinking in the text apart.
    """

    def __init__(self, tags: ThinkTags | None = None) -> None:
        self._events = SseEvents()
        self._pieces = AnswerPieces(tags)
        self._alone = False  # whether the last finish reason came by itself, after all pieces …
        self._early = False  # … and whether one came before some of them
        self._foreign = False  # whether an object came that is no chunk of this protocol
        self.finish_reason: str | None = None
        self.usage: Usage = NO_USAGE
        self.correlation_id: str | None = None
        self.done = False
        self.fault: object = None
        self.malformed = False

    @property
    def reasoning(self) -> dict[str, Any]:
        """The reasoning as its provider wrote it, by field; empty where there was none."""
        return self._pieces.reasoning.as_json()

    @property
    def may_end(self) -> bool:
        """Whether silence after the finish reason ends the answer: not before its first piece, nor among its calls."""
        return self._pieces.begun and (self._alone or not self._pieces.calls)

    @property
    def ended(self) -> bool:
        """Whether the answer is known to be at its end, though the connection broke."""
        told = self.finish_reason is not None and (self._alone or not self._early)
        return self.done or (told and self.may_end)

    @property
    def _settled(self) -> bool:
        """Whether nothing can change the answer. After announced calls a server that runs them goes on with it."""
        return self._alone and self._pieces.begun and self.finish_reason not in CALL_REASONS

    @property
    def over(self) -> bool:
        """Whether what follows no longer counts."""
        return self.done or self.malformed or self.fault is not None

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that these bytes complete, up to where the stream is over."""
        deltas: list[Delta] = []
        for name, payload in self._events.feed(data):
            self._event(name, payload, deltas)
            if self.done or self.malformed or self.fault is not None:
                break
        if self._events.unreadable and not self.over:
            self._odd(data)
        return deltas

    def last(self) -> list[Delta]:
        """The deltas of what the body ended in: its last event without a blank line, or all of it where it is JSON.

        What can't be read there was cut.
        """
        deltas: list[Delta] = []
        if self._events.plain:
            self._document(self._events.rest(), deltas)
            return deltas
        for name, payload in self._events.last():
            for line in [payload] if _is_whole(payload) else payload.split(b"\n"):
                if not self.over and _is_whole(line):
                    self._event(name, line, deltas)
        return deltas

    def flush(self) -> list[Delta]:
        """What was held back of the text for a next piece that did not come."""
        return self._pieces.flush()

    def _event(self, name: bytes, payload: bytes, deltas: list[Delta]) -> None:
        if (name or payload[0] != OBJECT) and self._aside(name, payload, deltas):
            return
        try:
            chunk, torn = _parsed(payload)
            if _is_error_name(name):
                self._fail({"error": chunk or name.decode(errors="replace")})
            else:
                self._value(chunk, torn, deltas)
        except ODD:
            self._lines(name, payload, deltas)

    def _lines(self, name: bytes, payload: bytes, deltas: list[Delta]) -> None:
        """An event that is no chunk may be several, where a server ends each with one line end and no empty line."""
        lines = [line for line in payload.split(b"\n") if line.strip()]
        if len(lines) == 1:
            self._odd(payload)
        for line in lines if len(lines) > 1 else ():
            if not self.over:
                self._event(name, line, deltas)

    def _aside(self, name: bytes, payload: bytes, deltas: list[Delta]) -> bool:
        """Take in an event that is no chunk: an end, a keepalive, text. Whether it was one."""
        text = payload.strip(b' \t\n"')
        if _is_error_name(name):
            if _is_json(payload):
                return False
            self._fail({"error": (text or name).decode(errors="replace")})
        elif text.upper() == b"[DONE]":
            self._done(payload)
        elif KEEPALIVE.fullmatch(text) or (name and KEEPALIVE.fullmatch(name)):
            pass
        elif text.startswith(b"data:"):  # twice, by proxies that add it to lines that have it
            self._event(name, text[5:].strip() or b"null", deltas)
        elif text.startswith((b"{", b"[")):
            return False
        else:  # which a named event may be, and the default one not
            return name not in (b"", b"message")
        return True

    def _document(self, data: bytes, deltas: list[Delta]) -> None:
        """A body that is JSON: a whole completion, an error, a list of either, or chunks line by line."""
        try:
            value, torn = _parsed(data)
        except ValueError:
            lines = [line for line in data.splitlines() if line.strip()]
            for line in lines if len(lines) > 1 else []:
                if not self.over and _is_json(line):
                    self._event(b"", line, deltas)
            return
        try:
            self._value(value, torn, deltas)
        except ODD:
            self._odd(data)
        if deltas or self.finish_reason is not None:
            self.done = True
        elif self.fault is None:
            self._odd(data)

    def _value(self, value: object, torn: bool, deltas: list[Delta]) -> None:
        """A chunk, or a list of chunks or of errors. Raise one of `ODD` for anything else."""
        if isinstance(value, dict):
            self._chunk(value, torn, deltas)
        elif is_error(value):
            self._fail(value)
        elif isinstance(value, list):
            for chunk in value:
                self._chunk(chunk, torn, deltas)
        else:
            raise TypeError("a value that is no chunk")

    def _done(self, payload: bytes) -> None:
        """The end of the stream. It ends no answer where all that came are objects of another protocol."""
        if self._foreign and not self._pieces.begun and self.finish_reason is None:
            self._odd(payload)
        else:
            self.done = True

    def _fail(self, fault: object) -> None:
        """The upstream has reported an error. It can't take back an answer that it has ended before."""
        if self._settled:
            logger.warning("the upstream reported an error after the end of its answer: %.500s", fault)
            self.done = True
        else:
            self.fault = fault

    def _odd(self, data: bytes) -> None:
        """What came is no chunk. After a finish reason it ends the stream, unless it may be a piece of the answer."""
        if self._settled or (self.finish_reason is not None and not any(part in data for part in PIECES)):
            logger.info("the upstream sent what is no chunk after its answer: %.200r", data)
            self.done = True
        else:
            logger.warning("the upstream sent what is no chunk: %.200r", data)
            self.malformed = True

    def _chunk(self, chunk: dict[str, Any], torn: bool, deltas: list[Delta]) -> None:
        shape = tuple(chunk)
        if (plain := _shapes.get(shape)) is None:
            plain = _note(shape)
        if not plain and is_error(chunk):
            self._fail(chunk)
            return
        if choices := chunk.get("choices") or (not plain and wrapped_choices(chunk)):
            self._choice(choices, torn, deltas)
        if usage := chunk.get("usage"):
            self.usage = usage_of(usage, self.usage)
        if not plain:
            self._extras(chunk, torn, deltas)

    def _extras(self, chunk: dict[str, Any], torn: bool, deltas: list[Delta]) -> None:
        if results := chunk.get("mcp_tool_results"):
            deltas += hosted_results(results, torn)
        if correlation := chunk.get("correlation_id"):
            self.correlation_id = str(correlation)
        if reason := reason_of(chunk):
            self._finish(reason, chunk, ended=not chunk.get("choices"))
        self._foreign |= ANSWER_KEYS.isdisjoint(chunk) and wrapped_choices(chunk) is None
        if isinstance(groq := chunk.get("x_groq"), dict):
            self.usage = usage_of(groq.get("usage"), self.usage)

    def _choice(self, choices: Any, torn: bool, deltas: list[Delta]) -> None:
        """The one choice that is the answer, which can be missing from a chunk."""
        choice = choices[0]
        if choice is None or len(choices) != 1 or choice.get("index"):
            choice = first_choice(choices)
        if choice is None:
            return
        before = len(deltas)
        self._pieces.read(choice, torn, deltas)
        ended = len(deltas) == before
        if not ended and self.finish_reason is not None:
            self._alone, self._early = False, True
        if usage := choice.get("usage"):  # Moonshot's place for it
            self.usage = usage_of(usage, self.usage)
        if ended or choice.get("finish_reason"):
            self._finish(reason_of(choice) or reason_of(choice.get("delta")), choice, ended)
        if (ended or "error" in choice) and is_failed_choice(choice):
            self._fail(choice)

    def _finish(self, reason: str | None, choice: dict[str, Any], ended: bool) -> None:
        """A finish reason has come. The last one counts, and one on a chunk without a piece of the answer ends it.

        An answer that was so ended as cut stays cut, whatever reason is told after it.
        """
        if reason is None:
            return
        cut = ended and self._alone and self._pieces.begun and means_cut(self.finish_reason or "")
        self.finish_reason = self.finish_reason if cut else reason
        self._alone = ended
        if means_error(reason):
            self.fault = choice


def _parsed(payload: bytes) -> tuple[Any, bool]:
    """The value of an event, as `loads_leniently` returns it.

    Raise ValueError for what is no JSON, or too much for a parser.
    """
    if len(payload) > LARGE_BYTES:
        scan(payload, LIMITS)
    return loads_leniently(payload)


def _is_error_name(name: bytes) -> bool:
    return bool(name) and is_kind_of_error(name.decode(errors="replace"))


def _is_whole(payload: bytes) -> bool:
    """Whether an event at the end of a body was not cut."""
    said = payload.strip().removeprefix(b"data:").strip()
    return said == b"[DONE]" or _is_json(said)


def _is_json(payload: bytes) -> bool:
    try:
        _parsed(payload)
    except (ValueError, RecursionError):
        return False
    return True


def _note(shape: tuple[str, ...]) -> bool:
    """Whether a chunk with these keys holds nothing beside choices and usage. Say once which keys are not known."""
    plain = "choices" in shape and PLAIN_KEYS.issuperset(shape)
    if len(_shapes) < MAX_SHAPES:
        _shapes[shape] = plain
        if unknown := set(shape) - KNOWN_KEYS:
            logger.info("the upstream's chunks have keys that are not used here: %s", sorted(unknown))
    return plain
