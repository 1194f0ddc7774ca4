"""Holds the output of a step back until the operator's check has passed it (CHECK_OUTPUT).

Nothing is put to the run's writer before it was checked, so what is blocked reaches neither the log nor whatever reads
the log. docs/checks.md describes what the check gets.
"""

import logging
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from errors import OutputBlocked, OutputLimit
from event_data import EventData, PartialOutput, Source, Thinking, ToolResult, ToolUse, ToolUseDelta
from json_codec.text import dumps, mend_text
from services.agents.run_context import RunContext
from services.tooling.checks import CheckContext, CheckKind, TextCheck

logger = logging.getLogger(__name__)

OVERLAP = 1000  # characters of earlier text that are checked again with a whole answer
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

Channel = tuple[CheckKind, str]
"""A text that arrives in pieces: the step's text, its thinking, or the arguments of the call with this id."""
TEXT: Channel = ("text", "")
THINKING: Channel = ("thinking", "")
Delta = PartialOutput | Thinking | ToolUseDelta


@dataclass(frozen=True, slots=True)
class OutputRules:
    """How output is checked: in windows of this many characters, or whole if it is 0.

    `restarts` says whether a step begins again, once, after its output was blocked.
    """

    check: TextCheck
    window_chars: int
    restarts: bool

    @property
    def overlap(self) -> int:
        """How many characters that have passed are checked again with those that follow."""
        return self.window_chars or OVERLAP


@dataclass(slots=True)
class HeldEvent:
    """An event that has not passed. Of neighbouring deltas, `event` is the first, and `texts` are those of all.

    `begun` says that an earlier part of these deltas has passed. What is left then begins with text that was checked.
    """

    event: EventData
    texts: list[str] = field(default_factory=list)
    size: int = 0
    begun: bool = False

    @property
    def text(self) -> str:
        """The text of the deltas."""
        return "".join(self.texts)


class CheckedOutput:
    """Takes a step's events in the place of the run's writer, and passes them on in their order, once checked.

    `passed` has the last characters of the run's text and thinking that have passed. The step's are added at its end.
    `held_bytes` is the size of the deltas that are held back.
    """

    def __init__(self, rules: OutputRules, context: RunContext, step: int, passed: dict[CheckKind, str]) -> None:
        self._rules = rules
        self._context = context
        self._writer = context.writer
        self._step = step
        self._passed = passed
        self._earlier_steps = dict(passed)
        self.begin()

    def begin(self) -> None:
        """Begin an attempt at the step. Drop the events that an earlier attempt has left unchecked."""
        self._held: deque[HeldEvent] = deque()
        self.held_bytes = 0
        self._before: dict[Channel, str] = {(kind, ""): text for kind, text in self._earlier_steps.items()}
        self._said: dict[Channel, list[str]] = {}
        self._names: set[str] = set()

    def put(self, event: EventData) -> None:
        """Hold an event back. Raise `OutputLimit` if more is held than the run may still write."""
        if not isinstance(event, Delta):
            self._held.append(HeldEvent(event))
            return
        text = _text_of(event)
        last = self._held[-1] if self._held else None
        if last is None or not isinstance(last.event, Delta) or _channel(last.event) != _channel(event):
            self._held.append(last := HeldEvent(event))
        last.texts.append(text)
        last.size += len(text)
        self._said.setdefault(_channel(event), []).append(text)
        self.held_bytes += _bytes(text)
        if self.held_bytes > self._writer.bytes_left:
            raise OutputLimit

    def cite(self, source: Source) -> None:
        """Hold a source back."""
        self.put(source)

    async def commit(self) -> None:
        """Check the windows that are full, and commit what passes. Raise `OutputBlocked` or `CheckFailed`."""
        window = self._rules.window_chars
        while window and self._held:
            first = self._held[0]
            if len(self._held) > 1 or not isinstance(first.event, Delta):
                await self._pass_first()
            elif first.size >= 2 * window:
                await self._pass_all_but(window, first, first.event)
            else:
                break
        await self._writer.commit()

    async def finish(self, state: Any) -> None:
        """Check and pass on what is left at the end of the model's turn. Raise as `commit` does.

        `state` is what the turn's provider wants back. Its strings are checked where they weren't said.
        """
        if self._rules.window_chars == 0:
            await self._check_whole()
        while self._held and self._rules.window_chars:
            await self._pass_first()
        said = ["".join(texts) for texts in self._said.values()]  # each was checked by itself, not one behind another
        if unsaid := [text for text in _strings(state) if not any(text in each for each in said)]:
            await self._check("provider_state", "\n".join(unsaid))
        while self._held:
            self._pass_on(self._held.popleft())
        self._passed |= {kind: text for (kind, _), text in self._before.items() if kind in ("text", "thinking")}

    async def check_data(self, data: Any) -> None:
        """Check the value of the answer. Raise as `commit` does."""
        await self._check_json("data", dumps(data))

    async def _pass_first(self) -> None:
        """Check the first held event whole, and pass it on."""
        held = self._held[0]
        await self._check_held(held, held.text)
        self._pass_on(self._held.popleft())

    async def _pass_all_but(self, kept: int, held: HeldEvent, delta: Delta) -> None:
        """Check deltas, and pass on all but their last characters. These are checked again with what follows.

        So whatever is no longer than a window is found before any part of it has passed.
        """
        text = held.text
        await self._check_held(held, text)
        self._pass_on(HeldEvent(delta, [text[:-kept]], len(text) - kept))
        held.texts, held.size, held.begun = [text[-kept:]], kept, True

    def _pass_on(self, held: HeldEvent) -> None:
        match held.event:
            case Source() as source:
                self._writer.cite(source)
            case PartialOutput() | Thinking():
                self._writer.put(held.event.model_copy(update={"content": held.text}))
            case ToolUseDelta():
                self._writer.put(held.event.model_copy(update={"arguments_delta": held.text}))
            case _:
                self._writer.put(held.event)
        self.held_bytes -= _bytes(held.text)

    async def _check_whole(self) -> None:
        """Check everything that is held: each channel as one text, then each other event."""
        channels: dict[Channel, list[str]] = {}
        tools: dict[Channel, HeldEvent] = {}
        for held in self._held:
            if isinstance(held.event, Delta):
                channels.setdefault(_channel(held.event), []).extend(held.texts)
                tools.setdefault(_channel(held.event), held)
        for channel, texts in channels.items():
            await self._check_held(tools[channel], "".join(texts))
        for held in self._held:
            if not isinstance(held.event, Delta):
                await self._check_held(held, "")

    async def _check_held(self, held: HeldEvent, text: str) -> None:
        match held.event:
            case PartialOutput() | Thinking() | ToolUseDelta() as delta:
                await self._check_delta(delta, text, held.begun)
            case ToolUse() as use:
                await self._check_name(use.name)
                await self._check_json("arguments", dumps(use.arguments), use.name)
                if use.invalid_arguments:
                    await self._check_json("arguments", use.invalid_arguments, use.name)
            case ToolResult(content=content, name=name):
                await self._check("tool_result", content, name)
            case Source(url=url, title=title, snippet=snippet):
                await self._check("source", "\n".join(filter(None, (url, title, snippet))))

    async def _check_delta(self, delta: Delta, text: str, begun: bool) -> None:
        """Check a text with the last characters of its channel before it, unless it `begun` with these."""
        channel = _channel(delta)
        whole = text if begun else self._before.get(channel, "") + text
        match delta:
            case ToolUseDelta(name=name):
                await self._check_name(name)
                await self._check_json("arguments", whole, name)
            case PartialOutput() if self._context.request.output_schema is not None:
                await self._check_json("text", whole)
            case _:
                await self._check(channel[0], whole)
        self._before[channel] = whole[-self._rules.overlap :]

    async def _check_name(self, name: str) -> None:
        """Check the name of a called tool that isn't this run's, once: the model may have made it up."""
        if name not in self._context.toolset.tools and name not in self._names:
            await self._check("tool_name", name)
            self._names.add(name)

    async def _check_json(self, kind: CheckKind, text: str, tool: str | None = None) -> None:
        """Check JSON as it is written, and as it is read: without escapes, which can hide anything."""
        await self._check(kind, text, tool)
        if "\\" in text:
            await self._check(kind, unescaped(text), tool)

    async def _check(self, kind: CheckKind, text: str, tool: str | None = None) -> None:
        if not text:
            return
        run = self._context.run
        context = CheckContext(kind, run.run_id, run.session_id, run.caller, run.metadata or {}, self._step, tool)
        if blocked := await self._rules.check.blocks(context, text):
            logger.warning("CHECK_OUTPUT blocked the %s of step %d: %s", kind, self._step, blocked.shown)
            raise OutputBlocked(blocked.explained(OutputBlocked.default))


def unescaped(text: str) -> str:
    """Return JSON text with its escapes replaced by what they mean. The text may be a part of a value."""
    return mend_text(ESCAPE.sub(_meaning, text))


def _meaning(escape: re.Match[str]) -> str:
    written = escape[1]
    return chr(int(written[1:], 16)) if len(written) > 1 else CONTROLS.get(written, written)


def _text_of(delta: Delta) -> str:
    return delta.arguments_delta if isinstance(delta, ToolUseDelta) else delta.content


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _channel(delta: Delta) -> Channel:
    match delta:
        case PartialOutput():
            return TEXT
        case Thinking():
            return THINKING
        case ToolUseDelta(tool_call_id=call_id):
            return "arguments", call_id


def _strings(value: Any) -> Iterator[str]:
    """Yield the strings in a JSON value, however deep it nests."""
    left = [value]
    while left:
        match left.pop():
            case str(text):
                yield text
            case Mapping() as members:
                left += members.values()
            case list() as items:
                left += items
