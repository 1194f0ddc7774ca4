"""The agent loop: model turns and tool calls in, events out.

Not the SDK's own runner: in 0.3.0 that loses the assistant's message before tool results, usage and hosted results.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errors import AgentStreamError, StepLimit
from events import EventData, PartialOutput, StepFinished, StepStarted, Thinking
from models import AgentRequest
from services.chat_chunks import CallDelta, Delta, HostedResult, TextDelta, ThinkingDelta
from services.dedalus_stream import Deadlines, ModelTurn, model_turn
from services.history import WireMessage, conversation
from services.run_events import RunEvents
from services.tool_calls import Call, ToolCalls, as_text
from services.tools import NO_TOOLS, Tool, ToolContext
from services.upstreams import Route, Upstreams

logger = logging.getLogger(__name__)

SAME_ON_THE_WIRE = ("temperature", "top_p", "reasoning_effort", "stop", "seed", "response_format")


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """What bounds an agent's work. Times are in seconds, sizes in bytes of UTF-8."""

    deadlines: Deadlines
    max_steps: int
    max_tool_result_bytes: int


class DedalusAgent:
    """Answers requests with a model, turn by turn, until it calls no more tools of ours."""

    def __init__(self, upstreams: Upstreams, limits: AgentLimits, tools: Mapping[str, Tool] = NO_TOOLS) -> None:
        self._upstreams = upstreams
        self._limits = limits
        self._tools = tools

    async def run(self, request: AgentRequest, route: Route, history: Sequence[WireMessage], events: RunEvents) -> None:
        """Write the whole run but for its ends. `history` is what was said before.

        Raise what it failed with, `StepLimit` included.
        """
        await self._upstreams.ready(route.upstream)
        body = self._body(request, route, history)
        max_steps = request.max_steps or self._limits.max_steps
        call_ids = {call["id"] for message in history for call in message.get("tool_calls", ())}
        for step in range(1, max_steps + 1):
            events.put(StepStarted(step=step, model=route.model))
            await events.commit()
            hosted = [server for server in request.mcp_servers or () if isinstance(server, str)]
            calls = ToolCalls(self._tools, hosted, self._limits.max_tool_result_bytes, call_ids)
            turn = await self._turn(route, body, calls, events)
            await self._answer(calls, events, run=step < max_steps)
            events.put(StepFinished(step=step, model=route.model, finish_reason=turn.finish_reason, usage=turn.usage))
            if not calls.to_run:
                return
            body["messages"] += calls.messages(events.answer)
            if turn.correlation_id:
                body["correlation_id"] = turn.correlation_id
        raise StepLimit

    async def _turn(self, route: Route, body: dict[str, Any], calls: ToolCalls, events: RunEvents) -> ModelTurn:
        """One model turn, each read's deltas committed together."""
        async with model_turn(route, body, self._limits.deadlines) as turn:
            async for deltas in turn:
                for delta in deltas:
                    _tell(delta, calls, events)
                await events.commit()
        _put_all(calls.complete(), events)
        return turn

    async def _answer(self, calls: ToolCalls, events: RunEvents, *, run: bool) -> None:
        """Give each call its result: our tools run at the same time, and each result is told as it comes."""
        _put_all(calls.unreported(), events)
        await events.commit()
        if not run:
            for call in calls.to_run:
                events.put(calls.answer(call, "Not run: this was the last step allowed.", is_error=True))
            return
        try:
            async with asyncio.TaskGroup() as group:
                for call in calls.to_run:
                    group.create_task(self._call(call, calls, events))
        except* AgentStreamError as failures:  # a commit's: what tools raise is their result
            raise failures.exceptions[0] from None

    async def _call(self, call: Call, calls: ToolCalls, events: RunEvents) -> None:
        started = time.monotonic()
        failed, result = await self._result(call)
        duration_ms = round((time.monotonic() - started) * 1000)
        if events.end is not None:
            return  # the run didn't wait for a tool that wouldn't stop
        events.put(calls.answer(call, result, is_error=failed, duration_ms=duration_ms))
        await events.commit()

    async def _result(self, call: Call) -> tuple[bool, Any]:
        if call.invalid_arguments is not None:
            return True, f"The arguments are not a JSON object: {call.invalid_arguments}"
        try:
            context = ToolContext("", None, call.call_id, None, {}, lambda *_: None)
            return False, as_text(await self._tools[call.name].call(call.arguments or {}, context))
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            logger.exception("the tool %s failed", call.name)
            return True, f"The tool failed with {type(error).__name__}."

    def _body(self, request: AgentRequest, route: Route, history: Sequence[WireMessage]) -> dict[str, Any]:
        asked = {key: value for key in SAME_ON_THE_WIRE if (value := getattr(request, key)) is not None}
        if request.max_tokens is not None:
            asked[route.max_tokens_key] = request.max_tokens
        if request.mcp_servers:
            asked["mcp_servers"] = request.mcp_servers
        if self._tools:
            asked["tools"] = [{"type": "function", "function": _schema(tool)} for tool in self._tools.values()]
        return {
            **route.upstream.defaults,
            **asked,
            "model": route.wire_model,
            "messages": conversation(request.instructions, history, request.input),
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def _schema(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def _tell(delta: Delta, calls: ToolCalls, events: RunEvents) -> None:
    if calls.all and not isinstance(delta, CallDelta):
        _put_all(calls.complete(), events)
    match delta:
        case TextDelta(text):
            events.put(PartialOutput(content=text))
        case ThinkingDelta(text):
            events.put(Thinking(content=text))
        case CallDelta():
            _put_all(calls.piece(delta), events)
        case HostedResult():
            _put_all(calls.hosted_result(delta), events)


def _is_cancelled() -> bool:
    """Whether this task is to stop, and not only something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _put_all(told: Iterable[EventData], events: RunEvents) -> None:
    for event in told:
        events.put(event)
