"""The pieces of one answer: the choices of its chunks into deltas, wherever in them the answer is. Pure."""

from collections import defaultdict
from typing import Any

from json_codec.text import Mender
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
from services.completions.think_tags import ThinkTags

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
PIECES = frozenset(("text", "content", "refusal", "tool_calls", "function_call", *REASONING_KEYS))
"""The keys under which a delta holds a piece of the answer."""
REASONING_LISTS = ("reasoning_details", "thinking_blocks")


class AnswerPieces:
    """Reads the choice that is the answer, chunk by chunk. `tags` tell thinking in the text apart.

    `reasoning` is what has to go back to the provider. Methods raise AttributeError, LookupError, TypeError or
    ValueError for a choice of a shape that isn't known.
    """

    def __init__(self, tags: ThinkTags | None = None) -> None:
        self._tags = tags
        self._menders: defaultdict[object, Mender] = defaultdict(Mender)
        self._spoken = False  # what has come in deltas: text …
        self._thought = False  # … thinking …
        self._called: set[str] = set()  # … and calls, by their fields, which may have come in messages, too
        self._reasoned = False  # whether thinking has come as plain text
        self._whole: defaultdict[str, str] = defaultdict(str)  # texts of `message` so far, by field
        self.reasoning = ReasoningRecord()

    @property
    def begun(self) -> bool:
        """Whether anything of the answer has come."""
        return self._spoken or self._thought or bool(self._called) or bool(self._whole)

    @property
    def calls(self) -> bool:
        """Whether a piece of a call has come."""
        return bool(self._called)

    def read(self, choice: dict[str, Any], torn: bool, deltas: list[Delta]) -> None:
        """Add the deltas of the next choice. `torn` says that its strings may hold lone surrogates."""
        before = len(deltas)
        if delta := choice.get("delta"):
            content = delta.get("content")
            if len(delta) == 1 and type(content) is str:  # as nearly every chunk is
                if content:
                    self._spoken = True
                    if torn or self._menders or self._tags is not None:
                        self._put(TextDelta, content, deltas, torn)
                    else:
                        deltas.append(TextDelta(content))
            else:
                self._delta(delta, torn, deltas)
        if len(deltas) == before:
            self._elsewhere(choice, torn, deltas)

    def flush(self) -> list[Delta]:
        """What was held back of the text for a next piece that did not come."""
        deltas: list[Delta] = []
        for kind in (ThinkingDelta, TextDelta):
            if text := self._menders[kind].flush():
                self._put(kind, text, deltas, torn=False)
        if self._tags is not None:
            deltas += [(ThinkingDelta if thinking else TextDelta)(text) for thinking, text in self._tags.flush()]
        return deltas

    def _elsewhere(self, choice: dict[str, Any], torn: bool, deltas: list[Delta]) -> None:
        """A chunk whose delta brings nothing may hold a whole `message`, or stand in the delta's place itself."""
        if isinstance(message := choice.get("message"), dict):
            self._delta(self._untold(message), torn, deltas, whole=True)
        elif not PIECES.isdisjoint(choice):
            self._delta({key: said for key, said in choice.items() if key in PIECES}, torn, deltas)

    def _untold(self, message: dict[str, Any]) -> dict[str, Any]:
        """What a whole `message` adds to what has come: MiniMax repeats the answer in one, Perplexity grows one."""
        told: set[str] = set()
        if self._spoken:
            told |= {"content", "refusal"}
        if self._thought:
            told |= FIELDS
        if self._called:
            told |= {"tool_calls", "function_call"}
        new = {key: value for key, value in message.items() if key not in told}
        for key in ("content", *REASONING_KEYS):
            if isinstance(text := new.get(key), str):
                before = self._whole[key]
                grown = text.startswith(before)
                self._whole[key] = text if grown else before + text
                new[key] = text.removeprefix(before) if grown else text
        return new

    def _delta(self, delta: dict[str, Any], torn: bool, deltas: list[Delta], *, whole: bool = False) -> None:
        if not FIELDS.isdisjoint(delta):
            self._reasoning(delta, torn, deltas, whole)
        if content := delta.get("content") or delta.get("refusal") or delta.get("text"):
            self._spoken |= not whole
            if isinstance(content, str):
                self._put(TextDelta, content, deltas, torn)
            else:
                for kind, text in content_parts(content):
                    self._put(kind, text, deltas, torn)
        if calls := delta.get("tool_calls"):
            self._called.add("tool_calls")
            deltas += [self._call(call, torn) for call in call_deltas(calls, torn, whole=whole)]
        elif (call := delta.get("function_call")) and "tool_calls" not in self._called:
            self._called.add("function_call")
            deltas.append(self._call(function_call_delta(call, torn), torn))

    def _reasoning(self, delta: dict[str, Any], torn: bool, deltas: list[Delta], whole: bool) -> None:
        """Reasoning under the first of its names that has text; entries only where there is no plain text of it."""
        told = ""
        for field, said in delta.items():
            if said is not None and field in FIELDS:
                self.reasoning.add(field, said)
        for name in REASONING_KEYS:
            if said := delta.get(name):
                told = told or (said if type(said) is str else plain_text(said))
        self._reasoned |= told != ""
        for name in () if self._reasoned else REASONING_LISTS:
            told = told or plain_text(delta.get(name))
        if told:
            self._thought |= not whole
            if self._tags is not None:
                self._tags.not_opened()
            self._put(ThinkingDelta, told, deltas, torn)

    def _call(self, call: CallDelta, torn: bool) -> CallDelta:
        if torn or self._menders:
            return call._replace(arguments=self._menders[call.slot].feed(call.arguments))
        return call

    def _put(self, kind: type[TextDelta] | type[ThinkingDelta], text: str, deltas: list[Delta], torn: bool) -> None:
        if torn or self._menders:
            text = self._menders[kind].feed(text)
        if self._tags is not None and kind is TextDelta:
            deltas += [(ThinkingDelta if thinking else TextDelta)(piece) for thinking, piece in self._tags.feed(text)]
            if self._tags.over:
                self._tags = None
        elif text:
            deltas.append(kind(text))
