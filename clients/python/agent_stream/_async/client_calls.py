"""Makes the calls of the program's own tools."""

import json
from collections.abc import Mapping
from typing import Any

from agent_stream._async.service import AsyncService
from agent_stream.events import ToolUse
from agent_stream.records import PendingCall, ToolCall
from agent_stream.tools import Tool
from agent_stream.twins import AsyncCalls


class AsyncClientCalls:
    """Makes each call of one run once, however often its result has to be sent."""

    def __init__(self, service: AsyncService, tools: Mapping[str, Tool]) -> None:
        self._service = service
        self._tools = tools
        self._results: dict[str, Mapping[str, Any]] = {}

    def has(self, call: PendingCall) -> bool:
        """Whether a call is one of this program's tools."""
        return call.kind == "client" and call.name in self._tools

    async def result_of(self, call: PendingCall, run_id: str, known: ToolCall | None) -> Mapping[str, Any]:
        """Return the `content` of a call's result and whether it `is_error`. An exception is an error of the call.

        `known` is the call, if its event has been read.
        """
        call_id = call.tool_call_id
        if call_id not in self._results:
            arguments = known.arguments if known else await self._arguments(run_id, call_id)
            self._results[call_id] = await self._make(self._tools[call.name], arguments)
        return self._results[call_id]

    async def _make(self, tool: Tool, arguments: dict[str, Any]) -> Mapping[str, Any]:
        try:
            content = await AsyncCalls.make(tool.function, arguments)
            json.dumps(content, allow_nan=False)
        except Exception as error:  # noqa: BLE001 - the model gets to know it
            return {"content": f"{type(error).__name__}: {error}", "is_error": True}
        return {"content": content, "is_error": False}

    async def _arguments(self, run_id: str, call_id: str) -> dict[str, Any]:
        """Return the arguments of a call that was made before the first event that was read."""
        events = await self._service.events(run_id, 0)
        uses = (event for event in events if isinstance(event, ToolUse) and event.tool_call_id == call_id)
        return next(uses).arguments
