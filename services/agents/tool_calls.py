"""The tool calls of one model turn: gathered from deltas, told as events, each answered once."""

import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from events import EventData, ToolResult, ToolSource, ToolUse, ToolUseDelta
from json_codec.text import dumps, mend_text
from services.agents.call_gathering import CallGatherer, GatheredCall
from services.completions.chunks import CallDelta, HostedResult
from services.tooling.base import Tool
from services.upstreams.wire_rules import signed

logger = logging.getLogger(__name__)

UNKNOWN = "There is no tool of this name."
NAMELESS = "unnamed"
NO_NAME = "Not run: this call named no tool."
CUT = (
    "Not run: the answer was cut off ({reason}), so this call may be incomplete. Make it again, shorter if it was long."
)
MAX_ID = 200  # characters; a longer one doesn't fit into a path
NO_IDS = (".", "..")  # which no path can hold, as little as a slash

Place = tuple[ToolSource, str | None]
"""Where a call is made: its source, and its server where that is known."""


@dataclass(slots=True)
class Call:
    """One tool call. It is complete once `arguments` are set, and answered once `result` is.

    `ours` says that this service, or its caller's page, runs it, and not the upstream. `written` is the text of the
    arguments that goes back to the upstream.
    """

    upstream_id: str
    call_id: str
    name: str
    source: ToolSource
    server: str | None
    ours: bool
    extra: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] | None = None
    written: str | None = None
    invalid_arguments: str | None = None
    result: str | None = None


class ToolCalls:
    """The calls of one turn, in the order in which they became known. Those of `tools` are not the upstream's to run.

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
        max_calls: int,
        taken: set[str],
        all: Iterable[Call] = (),  # noqa: A002 - as the attribute
    ) -> None:
        self._tools = tools
        self._servers = tuple(hosted)
        self._nobody_else_s = not hosted and (bool(tools) or not hosts_mcp)
        self._max_result_bytes = max_result_bytes
        self._taken = taken
        self._gatherer = CallGatherer(tools, max_calls)
        self._told: dict[GatheredCall, Call] = {}
        self.all: list[Call] = list(all)

    def piece(self, delta: CallDelta) -> Iterator[EventData]:
        """Add a piece of a call. It is told once the call has its name and arguments, before which the name can change.

        What comes for a call that has its result is dropped. Raise as `CallGatherer.add` does.
        """
        gathered = self._gatherer.add(delta)
        text = delta.arguments
        call = self._told.get(gathered)
        if call is None and gathered.name and gathered.pieces:
            call, text = self._tell(gathered), "".join(gathered.pieces)
        if call is None or not text:
            return
        if call.arguments is not None:
            logger.warning("the upstream went on with the arguments of a call that has its result")
            return
        yield ToolUseDelta(
            tool_call_id=call.call_id,
            name=call.name,
            arguments_delta=text,
            source=call.source,
            server=call.server,
        )

    def complete(self) -> Iterator[EventData]:
        """The turn is over: tell each call, once. One without a name and arguments is none.

        The model is told of arguments without a name, in another turn.
        """
        for gathered in self._gatherer.all:
            if not (gathered.name or gathered.pieces):
                logger.warning("the upstream sent a tool call without a name and arguments")
                continue
            call = self._told.get(gathered) or self._tell(gathered)
            if call.arguments is None:
                yield self._complete(call, gathered)
            if not gathered.name:
                call.ours = True
                yield self.answer(call, NO_NAME, is_error=True)

    def hosted_result(self, said: HostedResult) -> Iterator[EventData]:
        """The upstream ran a tool itself. Its result has no call id: matched by name, if any, then by arguments."""
        gathered = self._waiting_for(said) or self._made_for(said)
        call = self._told[gathered]
        yield self._complete(call, gathered)
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

    def cut(self, reason: str) -> Iterator[EventData]:
        """The answer was cut, for this reason: none of its calls is run, and the model is told so, in another turn.

        That goes for calls with whole arguments, too. The last one can look whole where the server mended its JSON, and
        the others are parts of a batch that the model hasn't finished. OpenRouter's agent (typescript-agent#125) and
        pi run none of them either.
        """
        for call in self.to_run:
            yield self.answer(call, CUT.format(reason=reason), is_error=True)

    @property
    def ours(self) -> list[Call]:
        """The calls that are not the upstream's to run, in the model's order."""
        return [call for call in self.all if call.ours]

    @property
    def to_run(self) -> list[Call]:
        """Those of them that have no result yet."""
        return [call for call in self.ours if call.result is None]

    @property
    def unbegun(self) -> bool:
        """Whether of some named call of this turn no arguments have come."""
        return any(gathered.name and not gathered.pieces for gathered in self._gatherer.all)

    def messages(self, text: str, reasoning: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the next turn has to hear of this one: the assistant's message, and each result in the model's order.

        `reasoning` are keys of the message that go back as they came.
        """
        calls = [signed(_on_the_wire(call), call.extra) for call in self.all]
        results = [{"role": "tool", "tool_call_id": call.call_id, "content": call.result or ""} for call in self.all]
        return [{"role": "assistant", "content": text or None, "tool_calls": calls, **reasoning}, *results]

    def as_they_came(self) -> dict[str, dict[str, Any]]:
        """What goes back with each call to its provider, by the call's id."""
        return {call.call_id: _as_it_came(call) for call in self.all}

    def _away(self, server: str | None = None) -> Place:
        """Where a call is made that isn't ours to run."""
        one = self._servers[0] if len(self._servers) == 1 else None
        return ("mcp" if self._servers or server else "hosted"), server or one

    def _tell(self, gathered: GatheredCall) -> Call:
        """The call under which the events tell of a gathered one, from now on."""
        tool = self._tools.get(gathered.name)
        place = (tool.source, tool.server) if tool else self._away()
        return self._placed(gathered, place, ours=tool is not None)

    def _waiting_for(self, said: HostedResult) -> GatheredCall | None:
        """The call of which this is the result."""
        named = [gathered for gathered in self._gatherer.all if said.name in ("", gathered.name)]
        calls = [(gathered, self._told.get(gathered) or self._tell(gathered)) for gathered in named]
        waiting = [gathered for gathered, call in calls if not call.ours and call.result is None]
        same = (gathered for gathered in waiting if gathered.arguments.value == said.arguments)
        return next(same, waiting[0] if waiting else None)

    def _made_for(self, said: HostedResult) -> GatheredCall:
        """A call for a result that has none."""
        gathered = self._gatherer.begin()
        gathered.name = said.name or NAMELESS
        gathered.pieces.append(json.dumps(said.arguments))
        self._placed(gathered, self._away(said.server), ours=False)
        return gathered

    def _placed(self, gathered: GatheredCall, place: Place, *, ours: bool) -> Call:
        upstream_id = gathered.call_id
        call = Call(
            upstream_id, self._free_id(upstream_id), gathered.name or NAMELESS, *place, ours, extra=gathered.extra
        )
        self._told[gathered] = call
        self.all.append(call)
        return call

    def _free_id(self, upstream_id: str) -> str:
        """The upstream's id where no other call of the run has it, and a path can hold it."""
        fits = 0 < len(upstream_id) <= MAX_ID and "/" not in upstream_id and upstream_id not in NO_IDS
        call_id = upstream_id if fits and upstream_id not in self._taken else f"call_{uuid.uuid4().hex}"
        self._taken.add(call_id)
        return call_id

    def _complete(self, call: Call, gathered: GatheredCall) -> ToolUse:
        call.arguments, call.written, call.invalid_arguments = gathered.arguments
        return ToolUse(
            tool_call_id=call.call_id,
            name=call.name,
            arguments=call.arguments,
            source=call.source,
            server=call.server,
            invalid_arguments=call.invalid_arguments,
        )


def _on_the_wire(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.written or dumps(call.arguments)}
    return {"id": call.call_id, "type": "function", "function": function}


def _as_it_came(call: Call) -> dict[str, Any]:
    if call.written in (None, dumps(call.arguments)):
        return call.extra
    return call.extra | {"arguments": call.written}


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
