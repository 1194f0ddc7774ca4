"""Keeps the tool calls of one model turn: gathers them from deltas, reports them as events, adds a result to each."""

import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from event_data import EventData, ToolResult, ToolSource, ToolUse, ToolUseDelta
from json_codec.text import dumps, mend_text
from services.agents.call_gathering import CallGatherer, GatheredCall
from services.agents.toolbox import Toolset
from services.completions.chunks import CallDelta, HostedResult
from services.upstreams.wire_rules import with_provider_fields

logger = logging.getLogger(__name__)

UNKNOWN_TOOL = "There is no tool of this name."
NAMELESS = "unnamed"
NO_NAME = "Not run: this call named no tool."
CUT = (
    "Not run: the answer was cut off ({reason}), so this call may be incomplete. Make it again, shorter if it was long."
)
MAX_ID = 200  # characters: a call's id has to fit into the path of a URL
PATH_DOTS = (".", "..")  # clients and proxies resolve these in a path

Location = tuple[ToolSource, str | None]
"""Where a call is run: its source, and its MCP server if that is known."""


@dataclass(slots=True)
class Call:
    """One tool call. It is complete once `arguments` are set, and answered once `result` is.

    `ours` says that this service or the caller's page runs it, and not the upstream. `written` is the text of the
    arguments that is sent back to the upstream. `extra` holds keys that only the model's provider knows. Suspended runs
    store calls as JSON, so these names are part of stored data.
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
    """The calls of one turn, in the order in which they became known.

    Calls of the toolset's tools are run here, others upstream. `hosts_mcp` says whether the upstream can call MCP
    servers. `taken` are the ids of the run's earlier calls; those of this turn are added to it. `all` are the calls of
    a turn that was suspended.
    """

    def __init__(
        self,
        toolset: Toolset,
        hosts_mcp: bool,
        max_result_bytes: int,
        max_calls: int,
        taken: set[str],
        all: Iterable[Call] = (),  # noqa: A002 - named as the attribute
    ) -> None:
        self._tools = toolset.tools
        self._servers = tuple(toolset.hosted)
        self._upstream_runs_none = not toolset.hosted and (bool(toolset.tools) or not hosts_mcp)
        self._max_result_bytes = max_result_bytes
        self._taken = taken
        self._gatherer = CallGatherer(toolset.tools, max_calls)
        self._reported: dict[GatheredCall, Call] = {}
        self.all: list[Call] = list(all)

    def add_piece(self, delta: CallDelta) -> Iterator[EventData]:
        """Add a piece of a call. Yield its event once the call has a name and some arguments.

        Until then the name can still change, and a name that was shown can't be taken back. Arguments for a call that
        has its result are dropped. Raise as `CallGatherer.add` does.
        """
        gathered = self._gatherer.add(delta)
        text = delta.arguments
        call = self._reported.get(gathered)
        if call is None and gathered.name and gathered.pieces:
            call, text = self._report(gathered), "".join(gathered.pieces)
        if call is None or not text:
            return
        if call.arguments is not None:
            logger.warning("the upstream sent more arguments for a call that has its result")
            return
        yield ToolUseDelta(
            tool_call_id=call.call_id,
            name=call.name,
            arguments_delta=text,
            source=call.source,
            server=call.server,
        )

    def complete(self) -> Iterator[EventData]:
        """Yield the event of each complete call, at the end of the turn.

        A call without a name and arguments is dropped. One with arguments only gets an error as its result, which the
        model reads in its next turn.
        """
        for gathered in self._gatherer.all:
            if not (gathered.name or gathered.pieces):
                logger.warning("the upstream sent a tool call without a name and arguments")
                continue
            call = self._reported.get(gathered) or self._report(gathered)
            if call.arguments is None:
                yield self._complete(call, gathered)
            if not gathered.name:
                call.ours = True
                yield self.add_result(call, NO_NAME, is_error=True)

    def add_hosted_result(self, hosted: HostedResult) -> Iterator[EventData]:
        """Add the result of a call that the upstream ran itself.

        Such results have no call id, so they are matched by name, if there is one, and then by arguments.
        """
        gathered = self._call_of(hosted) or self._new_call_for(hosted)
        call = self._reported[gathered]
        yield self._complete(call, gathered)
        yield self.add_result(call, hosted.result, is_error=hosted.is_error, duration_ms=hosted.duration_ms)

    def add_result(
        self, call: Call, result: Any, *, is_error: bool = False, duration_ms: int | None = None
    ) -> ToolResult:
        """Add a call's one result, and return it as an event. The text is cut where it is too large."""
        event = result_of(
            call.call_id, call.name, result, self._max_result_bytes, is_error=is_error, duration_ms=duration_ms
        )
        call.result = event.content
        return event

    def add_missing_results(self) -> Iterator[EventData]:
        """Add empty results to the calls that the upstream ran without reporting a result.

        If the upstream runs no tools, the model has invented the name. The result then says so, and the run continues.
        """
        for call in [call for call in self.all if not call.ours and call.result is None]:
            call.ours = self._upstream_runs_none
            yield self.add_result(call, UNKNOWN_TOOL if call.ours else "", is_error=call.ours)

    def reject_cut(self, reason: str) -> Iterator[EventData]:
        """Add an error to each call to run, because the model's answer was cut off for this reason.

        Calls with whole arguments aren't run either. The last one can look whole because the server completed its
        JSON, and the others are parts of a batch that the model hasn't finished. OpenRouter's agent
        (typescript-agent#125) and pi run none of them either.
        """
        for call in self.to_run:
            yield self.add_result(call, CUT.format(reason=reason), is_error=True)

    @property
    def ours(self) -> list[Call]:
        """The calls that this service or the caller's page runs, in the model's order."""
        return [call for call in self.all if call.ours]

    @property
    def to_run(self) -> list[Call]:
        """The calls in `ours` without a result."""
        return [call for call in self.ours if call.result is None]

    @property
    def may_be_run_upstream(self) -> bool:
        """Whether this turn has a call that the upstream may run or have run. A name that is not whole counts."""
        return not self._upstream_runs_none and any(call.name not in self._tools for call in self._gatherer.all)

    @property
    def unbegun(self) -> bool:
        """Whether this turn has a call with a name but no arguments."""
        return any(gathered.name and not gathered.pieces for gathered in self._gatherer.all)

    def messages(self, text: str, reasoning: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return this turn's messages for the next one: the assistant's, then each result, in the model's order.

        `reasoning` holds keys of the assistant's message that are sent back unchanged.
        """
        calls = [with_provider_fields(_wire_call(call), call.extra) for call in self.all]
        results = [{"role": "tool", "content": call.result or "", "tool_call_id": call.call_id} for call in self.all]
        return [{"role": "assistant", "content": text or None, "tool_calls": calls, **reasoning}, *results]

    def provider_states(self) -> dict[str, dict[str, Any]]:
        """Return what is sent back to the provider with each call, by the call's id."""
        return {call.call_id: _provider_state(call) for call in self.all}

    def _upstream_location(self, server: str | None = None) -> Location:
        """Return where the upstream runs a call."""
        only_server = self._servers[0] if len(self._servers) == 1 else None
        return ("mcp" if self._servers or server else "hosted"), server or only_server

    def _report(self, gathered: GatheredCall) -> Call:
        """Return the call that represents a gathered one in the events from now on."""
        tool = self._tools.get(gathered.name)
        location = (tool.source, tool.server) if tool else self._upstream_location()
        return self._add(gathered, location, ours=tool is not None)

    def _call_of(self, hosted: HostedResult) -> GatheredCall | None:
        """Return the call that a result belongs to."""
        named = [gathered for gathered in self._gatherer.all if hosted.name in ("", gathered.name)]
        calls = [(gathered, self._reported.get(gathered) or self._report(gathered)) for gathered in named]
        without_result = [gathered for gathered, call in calls if not call.ours and call.result is None]
        same_arguments = (gathered for gathered in without_result if gathered.arguments.value == hosted.arguments)
        return next(same_arguments, without_result[0] if without_result else None)

    def _new_call_for(self, hosted: HostedResult) -> GatheredCall:
        """Add a call for a result whose call the upstream has not sent."""
        gathered = self._gatherer.begin()
        gathered.name = hosted.name or NAMELESS
        gathered.pieces.append(json.dumps(hosted.arguments))
        self._add(gathered, self._upstream_location(hosted.server), ours=False)
        return gathered

    def _add(self, gathered: GatheredCall, location: Location, *, ours: bool) -> Call:
        upstream_id = gathered.call_id
        call = Call(
            upstream_id, self._free_id(upstream_id), gathered.name or NAMELESS, *location, ours, extra=gathered.extra
        )
        self._reported[gathered] = call
        self.all.append(call)
        return call

    def _free_id(self, upstream_id: str) -> str:
        """Return the upstream's id, or a new one if that is taken in this run or doesn't fit into a path."""
        fits = 0 < len(upstream_id) <= MAX_ID and "/" not in upstream_id and upstream_id not in PATH_DOTS
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


def _wire_call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.written or dumps(call.arguments)}
    return {"id": call.call_id, "type": "function", "function": function}


def _provider_state(call: Call) -> dict[str, Any]:
    """Return the keys of `extra`, and the text of the arguments if the provider wrote them in its own way."""
    if call.written in (None, dumps(call.arguments)):
        return call.extra
    return call.extra | {"arguments": call.written}


def result_of(
    call_id: str, name: str, result: Any, max_bytes: int, *, is_error: bool = False, duration_ms: int | None = None
) -> ToolResult:
    """Return a result as an event: a string unchanged, other values as JSON, cut to `max_bytes` bytes of UTF-8."""
    content, truncated = _within(result if isinstance(result, str) else dumps(result), max_bytes)
    return ToolResult(
        tool_call_id=call_id,
        name=name,
        content=content,
        is_error=is_error,
        duration_ms=duration_ms,
        truncated=truncated,
    )


def _within(text: str, max_bytes: int) -> tuple[str, bool]:
    """Return the text without lone surrogates, within `max_bytes` bytes of UTF-8, and whether it was cut."""
    text = mend_text(text[: max_bytes + 1])  # a character has at least one byte, so no more of them can fit
    data = text.encode()
    return (text, False) if len(data) <= max_bytes else (data[:max_bytes].decode("utf-8", "ignore"), True)
