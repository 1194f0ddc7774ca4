"""Where an agent writes the events of a run, so that every run keeps the grammar and ends in one way."""

import sys
import time
from datetime import datetime

from errors import AgentStreamError, OutputLimit
from event_logs.base import EventWriter
from events import (
    NO_USAGE,
    Complete,
    EventData,
    FinalOutput,
    PartialOutput,
    RunEnd,
    RunError,
    StepFinished,
    StepStarted,
    StreamEvent,
    Thinking,
    ToolResult,
    ToolUse,
    ToolUseDelta,
    Usage,
)

Delta = PartialOutput | Thinking | ToolUseDelta
UNBOUNDED = sys.maxsize
"""For a run that is taken over, until it goes on."""


class RunWriter:
    """Passes events on to the log's writer and remembers what the end of the run has to say.

    `max_output_bytes` bounds the text of all steps together, counted as UTF-8; beyond it `put` raises `OutputLimit`.
    """

    def __init__(self, writer: EventWriter, max_output_bytes: int) -> None:
        self.use_writer(writer)
        self._room = max_output_bytes
        self._started = time.monotonic()
        self._first_at = 0.0
        self._first_token_s: float | None = None
        self._text: list[str] = []
        self._open_calls: dict[str, str] = {}
        self.steps = 0
        self.usage: Usage = NO_USAGE
        self.finish_reason: str | None = None
        self.end: RunEnd | None = None
        self.error: RunError | None = None

    def use_writer(self, writer: EventWriter) -> None:
        """Write with this writer from now on."""
        self._writer = writer
        self.commit = writer.commit
        self.released = False

    async def release(self) -> None:
        """Nothing is written for long: the log need hold nothing open. What has not been committed is lost."""
        self.released = True
        await self._writer.aclose()

    @property
    def last_seq(self) -> int:
        """The number of the last committed event."""
        return self._writer.last_seq

    @property
    def text(self) -> str:
        """The text of the step so far."""
        return "".join(self._text)

    def put(self, data: EventData) -> None:
        """Queue an event. Raise `OutputLimit`, or `Fenced` once the run has ended."""
        self._note(data)
        self._writer.put(data)

    def _note(self, data: EventData) -> None:
        match data:
            case PartialOutput(content=text):
                self._spend(text)
                self._text.append(text)
            case Thinking(content=text) | ToolUseDelta(arguments_delta=text):
                self._spend(text)
            case ToolUse(tool_call_id=call, name=name):
                self._open_calls[call] = name
            case ToolResult(tool_call_id=call):
                del self._open_calls[call]
            case StepStarted(step=step):
                self.steps = step
                self._text.clear()
            case StepFinished(usage=usage, finish_reason=reason):
                self.usage += usage
                self.finish_reason = reason
            case _:
                pass

    def replay(self, event: StreamEvent) -> None:
        """Take in an event that a former process has committed, as if it had been put here."""
        at = datetime.fromisoformat(event.timestamp).timestamp()
        if event.seq == 1:
            self._first_at = at
        so_far_s = max(0.0, at - self._first_at)
        self._started = time.monotonic() - so_far_s
        if self._first_token_s is None and isinstance(event.data, Delta):
            self._first_token_s = so_far_s
        self._note(event.data)

    def continue_within(self, max_output_bytes: int) -> None:
        """A run that was taken over is not at its end: what there is of its text counts, and all the time until now."""
        self._room += max_output_bytes - UNBOUNDED
        self._started = time.monotonic() - max(0.0, time.time() - self._first_at)

    def reopen(self, call_id: str, name: str) -> None:
        """The result of a call could not be committed: it has none."""
        self._open_calls[call_id] = name

    def _spend(self, text: str) -> None:
        if self._first_token_s is None:
            self._first_token_s = time.monotonic() - self._started
        self._room -= len(text) if text.isascii() else len(text.encode())
        if self._room < 0:
            raise OutputLimit

    def conclude(self, end: RunEnd, error: AgentStreamError | None = None, request_id: str = "") -> None:
        """Queue the run's end: results for calls that have none, the answer or the error, and `complete`.

        They are one commit, which is left to the caller.
        """
        if error is not None:
            self.error = RunError(
                code=error.code,
                message=error.message,
                retryable=error.retryable,
                request_id=request_id,
                retry_after=error.retry_after,
            )
        for call, name in list(self._open_calls.items()):
            content = f"The run ended first ({end})."
            self.put(ToolResult(tool_call_id=call, name=name, content=content, is_error=True, truncated=False))
        if end == "succeeded":
            self.put(FinalOutput(content=self.text))
        elif self.error is not None:
            self.put(self.error)
        self.end = end
        self.put(
            Complete(
                status=end,
                finish_reason=self.finish_reason,
                usage=self.usage,
                steps=self.steps,
                duration_ms=_milliseconds(time.monotonic() - self._started),
                time_to_first_token_ms=None if self._first_token_s is None else _milliseconds(self._first_token_s),
            )
        )
        self._text.clear()  # an ended stream can be in memory until the collector comes


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
