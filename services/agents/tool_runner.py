"""Running the calls of a turn: what can be run runs at once, what a person or the caller's page decides waits."""

import asyncio
import logging
import math
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errors import AgentStreamError, LogUnavailable
from event_logs.base import Fenced
from events import ApprovalResponse, PendingKind, ToolProgress, ToolResult
from json_codec.text import dumps, mend_text
from models import Run
from services.agents.tool_calls import Call, ToolCalls
from services.agents.toolbox import Toolset
from services.outbound.client import GuardedClient
from services.runs.suspension import InDoubt, Outcomes, Pending, refusal_told
from services.runs.writer import RunWriter
from services.tooling.base import InvalidArguments, ToolContext, ToolError
from services.tooling.results import as_text

logger = logging.getLogger(__name__)

PROGRESS_S = 0.05  # between two reports of one call
MAX_MESSAGE = 1000  # characters of a report's message
MAX_CHANGED = 1000  # characters of the changed arguments that stand before a result, which has to have room
LAST_STEP = "Not run: this was the last step allowed."
GONE = "This tool is not there any more."
UNREACHABLE = "Not called: the server of this tool can't be reached now."
NO_REASON = "The tool failed and did not say why."
IN_DOUBT = "The server stopped while this call was being made: whether it was is not known."


class Progress:
    """What a running call reports, as events. What comes faster than that is joined: the latest counts."""

    def __init__(self, call_id: str, events: RunWriter) -> None:
        self._call_id = call_id
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._latest: ToolProgress | None = None
        self._due = False  # whether the loop has been woken for the latest report
        self._telling: asyncio.Task[None] | None = None
        self._over = False

    def report(self, message: str | None, progress: float | None, total: float | None) -> None:
        """From any thread. Raise `ValidationError` for what is no text or no number."""
        message = message and mend_text(message[:MAX_MESSAGE])
        self._latest = ToolProgress(
            tool_call_id=self._call_id, message=message, progress=_finite(progress), total=_finite(total)
        )
        if not self._due:
            self._due = True
            self._loop.call_soon_threadsafe(self._wake)

    def end(self) -> None:
        """The call is over: tell the latest report with its result, and nothing after it."""
        self._over = True
        if self._telling is not None:
            self._telling.cancel()
        self._put()

    def _wake(self) -> None:
        if self._telling is None and not self._over and self._events.end is None:
            self._telling = asyncio.create_task(self._tell(), name=f"progress {self._call_id}")

    async def _tell(self) -> None:
        try:
            while self._put():
                await self._events.commit()
                await asyncio.sleep(PROGRESS_S)
        except (LogUnavailable, Fenced):
            logger.info("a call's progress could not be told")  # its result will say so
        finally:
            self._telling, self._due = None, False

    def _put(self) -> bool:
        self._due = False  # before the look: what is reported after it wakes the loop again
        latest, self._latest = self._latest, None
        if latest is None or self._events.end is not None:
            return False
        self._events.put(latest)
        return True


@dataclass(frozen=True, slots=True)
class ToolRunner:
    """Runs the calls of one run. `approve` are the tools whose calls wait for a person, beside those that always do."""

    run: Run
    choice: Toolset
    approve: frozenset[str]
    events: RunWriter
    http: GuardedClient

    async def run_ready(self, calls: ToolCalls) -> Sequence[Pending]:
        """Answer each call that can be answered now, all at the same time; those that have to wait are given back."""
        waiting: list[Pending] = []
        ready: list[Call] = []
        for call in calls.to_run:
            if (fault := self._fault(call)) is not None:
                self.events.put(calls.answer(call, fault, is_error=True))
            elif (kind := self._waits(call)) is not None:
                waiting.append(Pending(call.call_id, call.name, kind, call.arguments or {}))
            else:
                ready.append(call)
        await self.events.commit()
        await self._together([self._run(call, calls, call.arguments or {}) for call in ready])
        return waiting

    async def run_answered(self, calls: ToolCalls, outcomes: Outcomes) -> None:
        """Answer the calls that had to wait."""
        approved = []
        for call in calls.to_run:
            match outcomes.get(call.call_id):
                case ToolResult(content=content):
                    call.result = content
                case ApprovalResponse(approved=False, reason=reason) | InDoubt(
                    ApprovalResponse(approved=False, reason=reason)
                ):
                    self.events.put(calls.answer(call, refusal_told(reason), is_error=True))
                case InDoubt() if not self._may_be_repeated(call):
                    self.events.put(calls.answer(call, IN_DOUBT, is_error=True))
                case ApprovalResponse(arguments=changed) | InDoubt(ApprovalResponse(arguments=changed)):
                    approved.append(self._run(call, calls, call.arguments or {}, changed=changed))
                case None:
                    pass
        await self.events.commit()
        await self._together(approved)

    def _may_be_repeated(self, call: Call) -> bool:
        tool = self.choice.tools.get(call.name)
        return tool is not None and tool.idempotent

    def _fault(self, call: Call) -> str | None:
        """What is wrong with a call before it is made."""
        if call.invalid_arguments is not None:
            return f"The arguments are not a JSON object: {call.invalid_arguments}"
        try:
            self.choice.tools[call.name].check(call.arguments or {})
        except InvalidArguments as fault:
            return _told(call.name, fault)
        except Exception as error:  # noqa: BLE001 - whatever a tool's author lets it raise
            return _failed(call.name, error)
        return None

    def _waits(self, call: Call) -> PendingKind | None:
        if call.source == "client":
            return "client"
        return "approval" if self.choice.tools[call.name].approval or call.name in self.approve else None

    async def _together(self, runs: Sequence[Coroutine[Any, Any, None]]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for run in runs:
                    group.create_task(run)
        except* AgentStreamError as failures:  # a commit's: what tools raise is their result
            raise failures.exceptions[0] from None

    async def _run(
        self, call: Call, calls: ToolCalls, arguments: Mapping[str, Any], *, changed: Mapping[str, Any] | None = None
    ) -> None:
        started = time.monotonic()
        progress = Progress(call.call_id, self.events)
        context = self._context(call, progress)
        try:
            failed, result = await self._result(call, arguments if changed is None else changed, context)
        finally:
            context.stopped.set()
        duration_ms = round((time.monotonic() - started) * 1000)
        if self.events.end is not None:
            return  # the run didn't wait for a tool that wouldn't stop
        progress.end()
        if changed is not None:
            result = f"A person changed the arguments to {_shortened(dumps(changed))}.\n{result}"
        self.events.put(calls.answer(call, result, is_error=failed, duration_ms=duration_ms))
        await self.events.commit()

    async def _result(self, call: Call, arguments: Mapping[str, Any], context: ToolContext) -> tuple[bool, str]:
        tool = self.choice.tools.get(call.name)
        if tool is None or (tool.source, tool.server) != (call.source, call.server):
            return True, UNREACHABLE if self.choice.warnings else GONE
        try:
            return False, as_text(await tool.call(arguments, context))
        except ToolError as failure:
            return True, _told(call.name, failure)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            return True, _failed(call.name, error)

    def _context(self, call: Call, progress: Progress) -> ToolContext:
        run = self.run
        return ToolContext(
            run_id=run.run_id,
            session_id=run.session_id,
            tool_call_id=call.call_id,
            caller=None,
            metadata=run.metadata or {},
            http=self.http,
            report=progress.report,
        )


def _told(name: str, error: ToolError) -> str:
    """An error's message, which is the tool's own code: it can be empty, and can fail itself."""
    try:
        return str(error).strip() or NO_REASON
    except (Exception, SystemExit, KeyboardInterrupt) as failure:  # noqa: BLE001 - whatever its author lets it raise
        return _failed(name, failure)


def _failed(name: str, error: BaseException) -> str:
    """What the model is told of an exception that isn't meant for it; its message is for the operator."""
    logger.error("the tool %s failed", name, exc_info=error)
    return f"The tool failed with {type(error).__name__}."


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CHANGED else f"{text[:MAX_CHANGED]}…"


def _finite(number: float | None) -> float | None:
    return number if number is None or math.isfinite(number) else None


def _is_cancelled() -> bool:
    """Whether this task is to stop, and not only something that it has waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
