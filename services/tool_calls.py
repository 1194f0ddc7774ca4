"""The tool calls of one model turn: pieced together from deltas, told as events, each answered once."""

import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from errors import UpstreamProtocol
from events import EventData, ToolResult, ToolSource, ToolUse, ToolUseDelta
from services.chat_chunks import CallDelta, HostedResult
from services.json_text import dumps, loads_exactly, mend_text, too_deep
from services.tools import Tool

logger = logging.getLogger(__name__)

UNKNOWN = "There is no tool of this name."
NO_IDS = (".", "..")  # which no path can hold, as little as a slash
MAX_DEPTH = 64  # of arguments; what nests deeper can't be counted on to be read again

Place = tuple[ToolSource, str | None]
"""Where a call is made: its source, and its server where that is known."""


@dataclass(slots=True)
class Call:
    """One tool call. It is complete once `arguments` are set, and answered once `result` is.

    `ours` says that this service, or its caller's page, runs it, and not the upstream.
    """

    upstream_id: str
    call_id: str
    name: str
    source: ToolSource
    server: str | None
    ours: bool
    pieces: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] | None = None
    invalid_arguments: str | None = None
    result: str | None = None


class ToolCalls:
    """The calls of one turn, in the model's order. Those of `tools` are not the upstream's to run.

    `hosted` are the MCP servers that the upstream calls; `hosts_mcp` says whether it could call any. `taken` are the
    ids of the run's earlier calls, to which those of this turn are added. `all` are the calls of a turn that was left
    off.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        hosted: Sequence[str],
        hosts_mcp: bool,
        max_result_bytes: int,
        taken: set[str],
        all: Iterable[Call] = (),  # noqa: A002 - as the attribute
    ) -> None:
        self._tools = tools
        self._servers = tuple(hosted)
        self._nobody_else_s = not hosted and (bool(tools) or not hosts_mcp)
        self._max_result_bytes = max_result_bytes
        self._taken = taken
        self._slots: dict[int, Call] = {}
        self.all: list[Call] = list(all)

    def piece(self, delta: CallDelta) -> Iterator[EventData]:
        """Add a piece of a call, the first of which carries the name. What comes for a told call is dropped.

        Raise `UpstreamProtocol` for a call without a name.
        """
        slot = delta.slot if delta.slot is not None else max(self._slots, default=0)
        call = self._slots.get(slot)
        if call is None or (delta.name and _begins_another(delta, call)):
            call = self._slots[slot] = self._new(delta.name, delta.call_id)
        if call.arguments is not None:
            logger.warning("the upstream went on with the arguments of a call after text or a result")
            return
        call.extra |= delta.extra
        call.pieces.append(delta.arguments)
        yield ToolUseDelta(
            tool_call_id=call.call_id,
            name=call.name,
            arguments_delta=delta.arguments,
            source=call.source,
            server=call.server,
        )

    def complete(self) -> Iterator[EventData]:
        """The model has written all of its calls so far: tell each, once."""
        for call in self.all:
            if call.arguments is None:
                yield self._complete(call)

    def hosted_result(self, said: HostedResult) -> Iterator[EventData]:
        """The upstream ran a tool itself. Its result has no call id: it is matched by name, then by arguments."""
        yield from self.complete()
        open_calls = [c for c in self.all if c.name == said.name and not c.ours and c.result is None]
        call = next((c for c in open_calls if c.arguments == said.arguments), open_calls[0] if open_calls else None)
        if call is None:
            call = self._placed(said.name, "", self._away(said.server), ours=False)
            call.pieces.append(json.dumps(said.arguments))
            yield self._complete(call)
        yield self.answer(call, said.result, is_error=said.is_error, duration_ms=said.duration_ms)

    def answer(self, call: Call, result: Any, *, is_error: bool = False, duration_ms: int | None = None) -> ToolResult:
        """A call's one result: text as it is, another JSON value as JSON, cut where it is too large."""
        told = result_of(
            call.call_id, call.name, result, self._max_result_bytes, is_error=is_error, duration_ms=duration_ms
        )
        call.result = told.content
        return told

    def unreported(self) -> Iterator[EventData]:
        """Empty results for the calls that the upstream ran without telling what they gave.

        Where it runs none, the model has made up a name: it is told so, in another turn.
        """
        for call in [call for call in self.all if not call.ours and call.result is None]:
            call.ours = self._nobody_else_s
            yield self.answer(call, UNKNOWN if call.ours else "", is_error=call.ours)

    @property
    def ours(self) -> list[Call]:
        """The calls that are not the upstream's to run, in the model's order."""
        return [call for call in self.all if call.ours]

    @property
    def to_run(self) -> list[Call]:
        """Those of them that have no result yet."""
        return [call for call in self.ours if call.result is None]

    def messages(self, text: str) -> list[dict[str, Any]]:
        """What the next turn has to hear of this one: the assistant's message, and each result in the model's order."""
        calls = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": dumps(call.arguments)},
                **call.extra,
            }
            for call in self.all
        ]
        results = [{"role": "tool", "tool_call_id": call.call_id, "content": call.result or ""} for call in self.all]
        return [{"role": "assistant", "content": text or None, "tool_calls": calls}, *results]

    def _away(self, server: str | None = None) -> Place:
        """Where a call is made that isn't ours to run."""
        one = self._servers[0] if len(self._servers) == 1 else None
        return ("mcp" if self._servers or server else "hosted"), server or one

    def _new(self, name: str, upstream_id: str) -> Call:
        if tool := self._tools.get(name):
            return self._placed(name, upstream_id, (tool.source, tool.server), ours=True)
        return self._placed(name, upstream_id, self._away(), ours=False)

    def _placed(self, name: str, upstream_id: str, place: Place, *, ours: bool) -> Call:
        if not name:
            logger.warning("the upstream sent a tool call without a name")
            raise UpstreamProtocol
        taken = not upstream_id or upstream_id in self._taken or "/" in upstream_id or upstream_id in NO_IDS
        call_id = f"call_{uuid.uuid4().hex}" if taken else upstream_id
        self._taken.add(call_id)
        call = Call(upstream_id, call_id, name, *place, ours)
        self.all.append(call)
        return call

    def _complete(self, call: Call) -> ToolUse:
        text = "".join(call.pieces)
        call.arguments, call.invalid_arguments = _arguments(text)
        return ToolUse(
            tool_call_id=call.call_id,
            name=call.name,
            arguments=call.arguments,
            source=call.source,
            server=call.server,
            invalid_arguments=call.invalid_arguments,
        )


def _begins_another(delta: CallDelta, call: Call) -> bool:
    """Whether a piece with a name is of another call than the one in its slot: some servers repeat the id or the name.

    Without an id, it is when that one has its whole arguments already.
    """
    if delta.call_id:
        return delta.call_id != call.upstream_id
    if delta.name != call.name:
        return True
    written = "".join(call.pieces) if delta.arguments.startswith("{") else ""
    return bool(written) and _arguments(written)[1] is None


def _arguments(text: str) -> tuple[dict[str, Any], str | None]:
    """The arguments, and the text itself where it is no JSON object, or nests too deep. No text means no arguments."""
    try:
        value = loads_exactly(text or "{}")
    except (ValueError, RecursionError):
        return {}, text
    if too_deep(text.encode("utf-8", "replace"), MAX_DEPTH):
        return {}, text
    return (value, None) if isinstance(value, dict) else ({}, text)


def result_of(
    call_id: str, name: str, result: Any, max_bytes: int, *, is_error: bool = False, duration_ms: int | None = None
) -> ToolResult:
    """A call's result as it is told: text as it is, another JSON value as JSON, cut to so many bytes of UTF-8."""
    content, truncated = _cut(result if isinstance(result, str) else dumps(result), max_bytes)
    return ToolResult(
        tool_call_id=call_id,
        name=name,
        content=content,
        is_error=is_error,
        duration_ms=duration_ms,
        truncated=truncated,
    )


def _cut(text: str, max_bytes: int) -> tuple[str, bool]:
    """The text, mended, within so many bytes of UTF-8, and whether it had to be cut.

    A character is a byte or more, so no more of them are looked at than would fit, and one.
    """
    text = mend_text(text[: max_bytes + 1])
    data = text.encode()
    return (text, False) if len(data) <= max_bytes else (data[:max_bytes].decode("utf-8", "ignore"), True)
