"""Runs the tool calls of a turn: at once where possible, later where a person or the caller's page has to answer."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errors import AgentStreamError
from event_data import ApprovalResponse, CallKind, ToolResult
from json_codec.text import dumps
from services.agents.progress import Progress
from services.agents.run_context import RunContext
from services.agents.tool_calls import Call, ToolCalls
from services.outbound.client import GuardedClient
from services.runs.suspension import InDoubt, Outcomes, Pending, refusal_message
from services.runs.writer import RunWriter
from services.tooling.base import InvalidArguments, Tool, ToolContext, ToolError
from services.tooling.results import as_text

logger = logging.getLogger(__name__)

MAX_CHANGED = 1000  # characters of changed arguments before a result, which needs room within its own limit
LAST_STEP = "Not run: this was the last step allowed."
GONE = "This tool is no longer available."
UNREACHABLE = "Not called: the server of this tool can't be reached now."
NO_REASON = "The tool failed without a message."
IN_DOUBT = "The server stopped while this call was being made. It is not known whether the call took effect."


@dataclass(frozen=True, slots=True)
class ToolRunner:
    """Runs the calls of one run. Its tools fetch URLs with `http`."""

    context: RunContext
    http: GuardedClient

    @property
    def _tools(self) -> Mapping[str, Tool]:
        return self.context.toolset.tools

    @property
    def _writer(self) -> RunWriter:
        return self.context.writer

    async def run_ready(self, calls: ToolCalls) -> Sequence[Pending]:
        """Run the calls that can be run now, all at the same time. Return those that have to wait."""
        waiting: list[Pending] = []
        ready: list[Call] = []
        for call in calls.to_run:
            if (error := self._argument_error(call)) is not None:
                self._writer.put(calls.add_result(call, error, is_error=True))
            elif (kind := self._pending_kind(call)) is not None:
                waiting.append(Pending(call.call_id, call.name, kind, call.arguments or {}))
            else:
                ready.append(call)
        await self._writer.commit()
        await self._run_together([self._run(call, calls, call.arguments or {}) for call in ready])
        return waiting

    async def run_answered(self, calls: ToolCalls, outcomes: Outcomes) -> None:
        """Run the approved ones of the calls that had to wait, and add the results of the others."""
        approved = []
        for call in calls.to_run:
            match outcomes.get(call.call_id):
                case ToolResult(content=content):
                    call.result = content
                case ApprovalResponse(approved=False, reason=reason) | InDoubt(
                    ApprovalResponse(approved=False, reason=reason)
                ):
                    self._writer.put(calls.add_result(call, refusal_message(reason), is_error=True))
                case InDoubt() if not self._is_idempotent(call):
                    self._writer.put(calls.add_result(call, IN_DOUBT, is_error=True))
                case ApprovalResponse(arguments=changed) | InDoubt(ApprovalResponse(arguments=changed)):
                    approved.append(self._run(call, calls, call.arguments or {}, changed=changed))
                case None:
                    pass
        await self._writer.commit()
        await self._run_together(approved)

    def _is_idempotent(self, call: Call) -> bool:
        tool = self._tools.get(call.name)
        return tool is not None and tool.idempotent

    def _argument_error(self, call: Call) -> str | None:
        """Return what is wrong with a call's arguments, before it is made."""
        if call.invalid_arguments is not None:
            return f"The arguments are not a JSON object: {call.invalid_arguments}"
        try:
            self._tools[call.name].check(call.arguments or {})
        except InvalidArguments as error:
            return _error_message(call.name, error)
        except Exception as error:  # noqa: BLE001 - a tool's own code may raise anything
            return _log_failure(call.name, error)
        return None

    def _pending_kind(self, call: Call) -> CallKind | None:
        """Return what a call has to wait for, if it has to."""
        if call.source == "client":
            return "client"
        required = self.context.request.require_approval or ()
        return "approval" if self._tools[call.name].approval or call.name in required else None

    async def _run_together(self, runs: Sequence[Coroutine[Any, Any, None]]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for run in runs:
                    group.create_task(run, name=f"{self.context.run.run_id} tool")  # see `log_lines`
        except* AgentStreamError as failures:  # of a commit: what tools raise becomes their result
            raise failures.exceptions[0] from None

    async def _run(
        self, call: Call, calls: ToolCalls, arguments: Mapping[str, Any], *, changed: Mapping[str, Any] | None = None
    ) -> None:
        started = time.monotonic()
        progress = Progress(call.call_id, self._writer)
        context = self._tool_context(call, progress)
        try:
            failed, result = await self._result(call, arguments if changed is None else changed, context)
        finally:
            context.stopped.set()  # a tool may have left a thread or a task behind that still uses the context
        duration_ms = round((time.monotonic() - started) * 1000)
        if self._writer.end is not None:
            return  # the run ended without this tool, which ignored its cancellation
        progress.end()
        if changed is not None:
            result = f"A person changed the arguments to {_shortened(dumps(changed))}.\n{result}"
        self._writer.put(calls.add_result(call, result, is_error=failed, duration_ms=duration_ms))
        await self._writer.commit()

    async def _result(self, call: Call, arguments: Mapping[str, Any], context: ToolContext) -> tuple[bool, str]:
        """Make a call. Return whether it failed, and the text of its result."""
        tool = self._tools.get(call.name)
        if tool is None or (tool.source, tool.server) != (call.source, call.server):
            return True, UNREACHABLE if self.context.toolset.warnings else GONE
        try:
            return False, as_text(await tool.call(arguments, context))
        except ToolError as error:
            return True, _error_message(call.name, error)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise  # the run was cancelled; a CancelledError of the tool's own is only a failed call
            return True, _log_failure(call.name, error)

    def _tool_context(self, call: Call, progress: Progress) -> ToolContext:
        run = self.context.run
        return ToolContext(
            run_id=run.run_id,
            session_id=run.session_id,
            tool_call_id=call.call_id,
            caller=run.caller,
            metadata=run.metadata or {},
            http=self.http,
            report=progress.report,
        )


def _error_message(name: str, error: ToolError) -> str:
    """Return the message of an error for the model. Its `__str__` is the tool's code, which can fail as well."""
    try:
        return str(error).strip() or NO_REASON
    except (Exception, SystemExit, KeyboardInterrupt) as failure:  # noqa: BLE001 - a tool's own code may raise anything
        return _log_failure(name, failure)


def _log_failure(name: str, error: BaseException) -> str:
    """Log an exception that isn't meant for the model. Return its type, which is all that the model may know of it."""
    logger.error("the tool %s failed", name, exc_info=error)
    return f"The tool failed with {type(error).__name__}."


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CHANGED else f"{text[:MAX_CHANGED]}…"


def _is_cancelled() -> bool:
    """Return whether this task itself is cancelled, and not only something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
