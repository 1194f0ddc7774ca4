"""Reads the chunks of one answer: deltas, usage, the finish reason and errors, whatever their shape. Pure.

The table in docs/upstreams.md says what each form of chunk means.
"""

import logging
from typing import Any

from services.completions.answer_pieces import AnswerPieces
from services.completions.citations import KEYS as CITATION_KEYS
from services.completions.citations import Citations
from services.completions.deltas import Delta, first_choice, hosted_results, wrapped_choices
from services.completions.error_shapes import is_error, is_failed_choice
from services.completions.errors import quoted
from services.completions.finish_reasons import CALL_REASONS, means_cut, means_error, reason_of
from services.completions.server_reports import KEYS as REPORT_KEYS
from services.completions.server_reports import ServerReports
from services.completions.think_tags import ThinkTags
from services.completions.usage import usage_of
from usage_models import NO_USAGE, Usage

logger = logging.getLogger(__name__)

PLAIN_KEYS = frozenset(
    ("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier", "provider")
)
KNOWN_KEYS = PLAIN_KEYS | CITATION_KEYS | REPORT_KEYS | {"mcp_tool_results", "timings", "obfuscation", "x_groq"}
ANSWER_KEYS = frozenset(("choices", "usage", "mcp_tool_results"))
PIECE_MARKS = (b'"delta"', b'"message"')  # a chunk that holds a piece of the answer contains one of these
MAX_SHAPES = 1000
_plain_by_shape: dict[tuple[str, ...], bool] = {}  # the keys of a chunk → whether it is plain (see `_is_plain`)


class ChunkReader:
    """Reads parsed chunks, one after another.

    `finish_reason` and `usage` are known once the stream has sent them. The stream is over when one of these is set:
    `done` (the answer has ended, and what follows does not count), `error_data` (an error that arrived as data) or
    `malformed` (data that is not a chunk). `tags` separate thinking from text. `is_quoted` says whether the log may
    quote what can't be read.
    """

    def __init__(self, tags: ThinkTags | None = None, *, is_quoted: bool = True) -> None:
        self.is_quoted = is_quoted
        self._citations = Citations()
        self._pieces = AnswerPieces(self._citations, tags)
        self._finished_alone = False  # the last finish reason arrived by itself, after all pieces
        self._finished_early = False  # a finish reason arrived before some of the pieces
        self._other_protocol = False  # an object arrived that is not a chunk of this protocol
        self.finish_reason: str | None = None
        self.usage: Usage = NO_USAGE
        self.reports = ServerReports()
        self._has_begun = False
        self.done = False
        self.error_data: object = None
        self.malformed = False

    @property
    def reasoning(self) -> dict[str, Any]:
        """The reasoning as its provider wrote it, by field; empty if there was none."""
        return self._pieces.reasoning.as_json()

    @property
    def over(self) -> bool:
        """Whether the stream is over: what follows no longer counts."""
        return self.done or self.malformed or self.error_data is not None

    @property
    def may_end(self) -> bool:
        """Whether silence after the finish reason ends the answer: not before its first piece, nor among its calls."""
        return self._pieces.begun and (self._finished_alone or not self._pieces.calls)

    @property
    def ended(self) -> bool:
        """Whether the answer is known to be complete, even if the connection has broken."""
        finished = self.finish_reason is not None and (self._finished_alone or not self._finished_early)
        return self.done or (finished and self.may_end)

    @property
    def _settled(self) -> bool:
        """Whether nothing can change the answer any more.

        After a finish reason for calls, a server that runs the calls itself continues the answer.
        """
        return self._finished_alone and self._pieces.begun and self.finish_reason not in CALL_REASONS

    def flush(self) -> list[Delta]:
        """Return the text that was held back for a next piece, after the last chunk."""
        return self._pieces.flush()

    def _value(self, value: object, has_surrogates: bool, deltas: list[Delta]) -> None:
        """Read a chunk, or a list of chunks or of errors.

        Raise AttributeError, LookupError, TypeError or ValueError for a value of another shape.
        """
        if isinstance(value, dict):
            self._chunk(value, has_surrogates, deltas)
        elif is_error(value):
            self._fail(value)
        elif isinstance(value, list):
            for chunk in value:
                self._chunk(chunk, has_surrogates, deltas)
        else:
            raise TypeError("the value is not a chunk")

    def _chunk(self, chunk: dict[str, Any], has_surrogates: bool, deltas: list[Delta]) -> None:
        # Nearly all chunks of a stream have the same keys. Looking up whether these keys need a closer look costs about
        # a tenth of searching the chunk for errors (`is_error`).
        shape = tuple(chunk)
        if (plain := _plain_by_shape.get(shape)) is None:
            plain = _is_plain(shape)
        if not plain and is_error(chunk):
            self._fail(chunk)
            return
        if not self._has_begun:
            self._has_begun = True
            self.reports.begin(chunk)
        if choices := chunk.get("choices") or (not plain and wrapped_choices(chunk)):
            self._choice(choices, has_surrogates, deltas)
        if usage := chunk.get("usage"):
            self.usage = usage_of(usage, self.usage)
        if not plain:
            self._extras(chunk, has_surrogates, deltas)
        if self._citations.new:
            deltas += self._citations.take()

    def _extras(self, chunk: dict[str, Any], has_surrogates: bool, deltas: list[Delta]) -> None:
        """Read the keys beside choices and usage."""
        if not CITATION_KEYS.isdisjoint(chunk):
            self._citations.read(chunk, has_surrogates)
        if results := chunk.get("mcp_tool_results"):
            deltas += hosted_results(results, has_surrogates)
        if not REPORT_KEYS.isdisjoint(chunk):
            self.reports.read(chunk, has_surrogates)
        if reason := reason_of(chunk):
            self._finish(reason, chunk, alone=not chunk.get("choices"))
        self._other_protocol |= ANSWER_KEYS.isdisjoint(chunk) and wrapped_choices(chunk) is None
        if isinstance(groq := chunk.get("x_groq"), dict):
            self.usage = usage_of(groq.get("usage"), self.usage)

    def _choice(self, choices: Any, has_surrogates: bool, deltas: list[Delta]) -> None:
        """Read the choice that is the answer. A chunk may have none."""
        choice = choices[0]
        if choice is None or len(choices) != 1 or choice.get("index"):  # a lone choice with index 0 needs no search
            choice = first_choice(choices)
        if choice is None:
            return
        before = len(deltas)
        self._pieces.read(choice, has_surrogates, deltas)
        alone = len(deltas) == before
        if not alone and self.finish_reason is not None:
            self._finished_alone, self._finished_early = False, True
        if usage := choice.get("usage"):  # Moonshot reports it here
            self.usage = usage_of(usage, self.usage)
        if alone or choice.get("finish_reason"):
            self._citations.read(choice, has_surrogates)
            self._finish(reason_of(choice) or reason_of(choice.get("delta")), choice, alone)
        if (alone or "error" in choice) and is_failed_choice(choice):
            self._fail(choice)

    def _finish(self, reason: str | None, choice: dict[str, Any], alone: bool) -> None:
        """Record a finish reason. The last one counts; one that arrives `alone`, without a piece, ends the answer.

        If an answer has ended as cut in this way, it stays cut, whatever reason follows.
        """
        if reason is None:
            return
        stays_cut = alone and self._finished_alone and self._pieces.begun and means_cut(self.finish_reason or "")
        self.finish_reason = self.finish_reason if stays_cut else reason
        self._finished_alone = alone
        if means_error(reason):
            self.error_data = choice

    def _fail(self, error_data: object) -> None:
        """Record an error that the upstream reports. It doesn't undo an answer that has already ended."""
        if self._settled:
            shown = quoted(error_data, self.is_quoted)
            logger.warning("the upstream reported an error after the end of its answer: %.500s", shown)
            self.done = True
        else:
            self.error_data = error_data

    def _end(self, payload: bytes) -> None:
        """End the stream at its `[DONE]`, unless only objects of another protocol came before it."""
        if self._other_protocol and not self._pieces.begun and self.finish_reason is None:
            self._unreadable(payload)
        else:
            self.done = True

    def _unreadable(self, data: bytes) -> None:
        """Record data that is not a chunk. After a finish reason it ends the stream, if no piece can be in it."""
        shown = quoted(data, self.is_quoted)
        if self._settled or (self.finish_reason is not None and not any(mark in data for mark in PIECE_MARKS)):
            logger.info("the upstream sent data that is not a chunk after its answer: %.200s", shown)
            self.done = True
        else:
            logger.warning("the upstream sent data that is not a chunk: %.200s", shown)
            self.malformed = True


def _is_plain(shape: tuple[str, ...]) -> bool:
    """Whether a chunk with these keys holds only choices and usage. Logs unknown keys, once for each set of keys."""
    plain = "choices" in shape and PLAIN_KEYS.issuperset(shape)
    if len(_plain_by_shape) < MAX_SHAPES:
        _plain_by_shape[shape] = plain
        if unknown := set(shape) - KNOWN_KEYS:
            logger.info("the upstream's chunks have keys that are not used here: %s", sorted(unknown))
    return plain
