"""Turns the choices of one answer's chunks into deltas, wherever in a choice the answer is. Pure."""

from collections import defaultdict
from typing import Any

from json_codec.text import Mender
from services.completions.citations import KEYS as CITATION_KEYS
from services.completions.citations import Citations
from services.completions.deltas import (
    CallDelta,
    Delta,
    TextDelta,
    ThinkingDelta,
    call_deltas,
    content_parts,
    function_call_delta,
    plain_text,
)
from services.completions.reasoning_record import FIELDS, ReasoningRecord
from services.completions.think_tags import Piece, ThinkTags

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
PIECES = frozenset(("text", "content", "refusal", "tool_calls", "function_call", *REASONING_KEYS))
"""The keys of a delta that hold a piece of the answer."""
REASONING_LISTS = ("reasoning_details", "thinking_blocks")


class AnswerPieces:
    """Reads the choice that is the answer, chunk by chunk. `tags` separate thinking from text.

    Its sources are added to `citations`. `reasoning` is the record that has to be sent back to the provider. Methods
    raise AttributeError, LookupError, TypeError or ValueError for a choice of an unknown shape.
    """

    def __init__(self, citations: Citations, tags: ThinkTags | None = None) -> None:
        self._citations = citations
        self._tags = tags
        self._menders: defaultdict[object, Mender] = defaultdict(Mender)  # by kind of delta, or slot of a call
        self._has_text = False  # in deltas, not in a whole `message`
        self._has_thinking = False  # the same
        self._call_fields: set[str] = set()  # the fields in which calls have arrived, in deltas or in a `message`
        self._has_plain_reasoning = False  # thinking has arrived as plain text, so its entries repeat it
        self._message_texts: defaultdict[str, str] = defaultdict(str)  # of `message` so far, by field
        self.reasoning = ReasoningRecord()

    @property
    def begun(self) -> bool:
        """Whether any piece of the answer has arrived."""
        return self._has_text or self._has_thinking or bool(self._call_fields) or bool(self._message_texts)

    @property
    def calls(self) -> bool:
        """Whether a piece of a call has arrived."""
        return bool(self._call_fields)

    def read(self, choice: dict[str, Any], has_surrogates: bool, deltas: list[Delta]) -> None:
        """Append the deltas of the next choice. With `has_surrogates`, its strings may hold lone surrogates."""
        before = len(deltas)
        # Nearly every delta is a `content` alone. This path costs about half of `_delta`. A Mender, which joins the
        # halves of a character, is needed only once a piece has held a lone surrogate.
        if delta := choice.get("delta"):
            content = delta.get("content")
            if len(delta) == 1 and type(content) is str:
                if content:
                    self._has_text = True
                    if has_surrogates or self._menders or self._tags is not None:
                        self._put(TextDelta, content, deltas, has_surrogates)
                    else:
                        deltas.append(TextDelta(content))
            else:
                self._delta(delta, has_surrogates, deltas)
        if len(deltas) == before:
            self._without_delta(choice, has_surrogates, deltas)

    def flush(self) -> list[Delta]:
        """Return the text that was held back for a next piece, after the last choice."""
        deltas: list[Delta] = []
        for kind in (ThinkingDelta, TextDelta):
            if text := self._menders[kind].flush():
                self._put(kind, text, deltas, has_surrogates=False)
        if self._tags is not None:
            deltas += map(_of_piece, self._tags.flush())
        return deltas

    def _without_delta(self, choice: dict[str, Any], has_surrogates: bool, deltas: list[Delta]) -> None:
        """Read a choice whose delta is empty: it may hold a whole `message`, or the fields of a delta itself."""
        if isinstance(message := choice.get("message"), dict):
            self._delta(self._new_in(message), has_surrogates, deltas, whole=True)
        elif not PIECES.isdisjoint(choice):
            self._delta({key: value for key, value in choice.items() if key in PIECES}, has_surrogates, deltas)

    def _new_in(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return what a whole `message` adds to the pieces before it.

        MiniMax repeats the whole answer in one at the end. Perplexity sends all text so far in each chunk.
        """
        known: set[str] = set()
        if self._has_text:
            known |= {"content", "refusal"}
        if self._has_thinking:
            known |= FIELDS
        if self._call_fields:
            known |= {"tool_calls", "function_call"}
        new = {key: value for key, value in message.items() if key not in known}
        for key in ("content", *REASONING_KEYS):
            if isinstance(text := new.get(key), str):
                before = self._message_texts[key]
                if text.startswith(before):
                    self._message_texts[key] = text
                    new[key] = text.removeprefix(before)
                else:
                    self._message_texts[key] = before + text
        return new

    def _delta(self, delta: dict[str, Any], has_surrogates: bool, deltas: list[Delta], *, whole: bool = False) -> None:
        if not FIELDS.isdisjoint(delta):
            self._reasoning(delta, has_surrogates, deltas, whole)
        if not CITATION_KEYS.isdisjoint(delta):
            self._citations.read(delta, has_surrogates)
        if content := delta.get("content") or delta.get("refusal") or delta.get("text"):
            self._has_text |= not whole
            if isinstance(content, str):
                self._put(TextDelta, content, deltas, has_surrogates)
            else:
                self._citations.read_parts(content, has_surrogates)
                for kind, text in content_parts(content):
                    self._put(kind, text, deltas, has_surrogates)
        if calls := delta.get("tool_calls"):
            self._call_fields.add("tool_calls")
            deltas += [self._call(call, has_surrogates) for call in call_deltas(calls, has_surrogates, whole=whole)]
        elif (call := delta.get("function_call")) and "tool_calls" not in self._call_fields:
            self._call_fields.add("function_call")
            deltas.append(self._call(function_call_delta(call, has_surrogates), has_surrogates))

    def _reasoning(self, delta: dict[str, Any], has_surrogates: bool, deltas: list[Delta], whole: bool) -> None:
        """Read reasoning: the first of its keys that has text, or else its lists of entries, which repeat that text."""
        for field, value in delta.items():
            if value is not None and field in FIELDS:
                self.reasoning.add(field, value)
        text = ""
        for key in REASONING_KEYS:
            if value := delta.get(key):
                text = text or (value if type(value) is str else plain_text(value))
        self._has_plain_reasoning |= text != ""
        for key in () if self._has_plain_reasoning else REASONING_LISTS:
            text = text or plain_text(delta.get(key))
        if text:
            self._has_thinking |= not whole
            if self._tags is not None:
                self._tags.not_opened()
            self._put(ThinkingDelta, text, deltas, has_surrogates)

    def _call(self, call: CallDelta, has_surrogates: bool) -> CallDelta:
        if has_surrogates or self._menders:
            return call._replace(arguments=self._menders[call.slot].feed(call.arguments))
        return call

    def _put(
        self, kind: type[TextDelta] | type[ThinkingDelta], text: str, deltas: list[Delta], has_surrogates: bool
    ) -> None:
        if has_surrogates or self._menders:
            text = self._menders[kind].feed(text)
        if self._tags is not None and kind is TextDelta:
            deltas += map(_of_piece, self._tags.feed(text))
            if self._tags.over:
                self._tags = None
        elif text:
            deltas.append(kind(text))


def _of_piece(piece: Piece) -> Delta:
    is_thinking, text = piece
    return ThinkingDelta(text) if is_thinking else TextDelta(text)
