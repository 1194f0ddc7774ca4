"""A finished run's events, folded into one JSON answer."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from errors import AgentStreamError, InternalError, every_error
from events import (
    Complete,
    FinalOutput,
    PartialOutput,
    RunError,
    RunStarted,
    StepStarted,
    StreamEvent,
    Thinking,
    ToolResult,
    ToolUse,
)
from models import AgentResponse, ToolCall
from services.event_reading import events_in

BY_CODE = {error.code: error for error in every_error()}


class Folded:
    """What a run said, gathered event by event. Of a run without a final output, the answer is its last step's text."""

    def __init__(self) -> None:
        self._started: RunStarted | None = None
        self._thinking: list[str] = []
        self._answer: list[str] = []
        self._uses: dict[str, ToolUse] = {}
        self._results: dict[str, ToolResult] = {}
        self._complete: Complete | None = None
        self.error: RunError | None = None

    def add(self, event: StreamEvent) -> None:
        """Take in the next event."""
        match event.data:
            case PartialOutput(content=text):
                self._answer.append(text)
            case Thinking(content=text):
                self._thinking.append(text)
            case StepStarted():
                self._answer.clear()
            case ToolUse() as use:
                self._uses[use.tool_call_id] = use
            case ToolResult() as result:
                self._results[result.tool_call_id] = result
            case FinalOutput(content=text):
                self._answer = [text]
            case RunStarted() as started:
                self._started = started
            case RunError() as error:
                self.error = error
            case Complete() as complete:
                self._complete = complete
            case _:
                pass

    def response(self, run_id: str) -> AgentResponse:
        """The answer of a run that has ended."""
        assert self._started is not None
        assert self._complete is not None
        return AgentResponse(
            run_id=run_id,
            session_id=self._started.session_id,
            status=self._complete.status,
            output="".join(self._answer),
            thinking="".join(self._thinking),
            tool_calls=[self._call(use) for use in self._uses.values()],
            usage=self._complete.usage,
            model=self._started.model,
            finish_reason=self._complete.finish_reason,
            steps=self._complete.steps,
            duration_ms=self._complete.duration_ms,
        )

    def _call(self, use: ToolUse) -> ToolCall:
        result = self._results[use.tool_call_id]
        return ToolCall(
            **use.model_dump(exclude={"invalid_arguments"}), result=result.content, is_error=result.is_error
        )


async def fold(pages: AsyncGenerator[bytes, None]) -> Folded:
    """Read a run's frames to their end."""
    folded = Folded()
    async with aclosing(events_in(pages)) as events:
        async for event in events:
            folded.add(event)
    return folded


def raised(error: RunError) -> AgentStreamError:
    """The exception that ended a run, as its event tells it."""
    return BY_CODE.get(error.code, InternalError)(error.message, retry_after=error.retry_after)
