"""Writes a run's events for its agent, so that every run keeps the grammar and ends in one way."""

import sys
import time
from datetime import datetime
from typing import Any

from closed_models import ABSENT
from errors import AgentStreamError, OutputLimit
from event_data import (
    Complete,
    EventData,
    FinalOutput,
    PartialOutput,
    RunEnd,
    RunError,
    Source,
    StepFinished,
    StepRestarted,
    StepStarted,
    Thinking,
    ToolResult,
    ToolUse,
    ToolUseDelta,
)
from event_logs.base import EventWriter
from events import StreamEvent
from usage_models import NO_USAGE, Usage

Delta = PartialOutput | Thinking | ToolUseDelta
MAX_SOURCES = 100  # of a run
UNBOUNDED = sys.maxsize
"""The output limit while former events are replayed: they were within the limit when they were written."""


class RunWriter:
    """Passes events to the log's writer, and keeps what the run's final events need.

    `max_output_bytes` limits the text of all steps together, counted as UTF-8. Above it, `put` raises `OutputLimit`.
    `bytes_left` is what is left of it.
    """

    def __init__(self, writer: EventWriter, max_output_bytes: int) -> None:
        self.use_writer(writer)
        self.bytes_left = max_output_bytes
        self._started = time.monotonic()
        self._first_event_at = 0.0  # of a replayed run, in seconds since 1970
        self._first_token_s: float | None = None
        self._text: list[str] = []
        self._open_calls: dict[str, str] = {}
        self._step_of_source: dict[str, int] = {}  # by the source's URL
        self._data: Any = ABSENT
        self._attempts: int | None = None
        self.steps = 0
        self.answered_by: str | None = None
        self.usage: Usage = NO_USAGE
        self._unfinished_usage: Usage = NO_USAGE
        self.finish_reason: str | None = None
        self.end: RunEnd | None = None
        self.error: RunError | None = None

    def use_writer(self, writer: EventWriter) -> None:
        """Write with this writer from now on."""
        self._writer = writer
        self.commit = writer.commit  # the bound method itself: a method of ours would add a coroutine to every read
        self.released = False

    async def release(self) -> None:
        """Close the log's writer while the run waits, so no file stays open. Events that aren't committed are lost."""
        self.released = True
        await self._writer.aclose()

    @property
    def last_seq(self) -> int:
        """The number of the last committed event."""
        return self._writer.last_seq

    @property
    def text(self) -> str:
        """The text of the present step so far, since its last restart."""
        return "".join(self._text)

    def answer_with(self, data: Any, attempts: int) -> None:
        """Add the answer's value, and the number of answers until it was valid, to the run's `final_output`."""
        self._data = data
        self._attempts = attempts

    def put(self, data: EventData) -> None:
        """Queue an event. Raise `OutputLimit`, or `Fenced` once the run has ended."""
        self._note(data)
        self._writer.put(data)

    def cite(self, source: Source) -> None:
        """Queue a source, unless the run has cited its URL already or has cited MAX_SOURCES."""
        if source.url not in self._step_of_source and len(self._step_of_source) < MAX_SOURCES:
            self.put(source)

    def _note(self, data: EventData) -> None:
        match data:
            case PartialOutput(content=text):
                self._count_output(text)
                self._text.append(text)
            case Thinking(content=text) | ToolUseDelta(arguments_delta=text):
                self._count_output(text)
            case ToolUse(tool_call_id=call, name=name):
                self._open_calls[call] = name
            case ToolResult(tool_call_id=call):
                del self._open_calls[call]
            case Source(url=url):
                self._step_of_source[url] = self.steps
            case StepStarted(step=step, model=model):
                self.steps = step
                self.answered_by = model
                self._text.clear()
            case StepRestarted() as restart:
                self._restart_step(restart)
            case StepFinished(model=model, usage=usage, finish_reason=reason):
                self.answered_by = model
                self.usage += usage
                self._unfinished_usage = NO_USAGE
                self.finish_reason = reason
            case _:
                pass

    def _restart_step(self, restart: StepRestarted) -> None:
        self.answered_by = restart.model or self.answered_by
        self._text.clear()
        self._open_calls.clear()
        earlier = {url: step for url, step in self._step_of_source.items() if step != self.steps}
        self._step_of_source = earlier

    def replay(self, event: StreamEvent) -> None:
        """Take account of an event that a former process committed, as if it had been put here."""
        at = datetime.fromisoformat(event.timestamp).timestamp()
        if event.seq == 1:
            self._first_event_at = at
        elapsed_s = max(0.0, at - self._first_event_at)  # the clock may have been set back between two events
        self._started = time.monotonic() - elapsed_s
        if self._first_token_s is None and isinstance(event.data, Delta):
            self._first_token_s = elapsed_s
        if isinstance(event.data, StepRestarted) and event.data.usage is not None:
            self.spend(event.data.usage)
        self._note(event.data)

    def continue_within(self, max_output_bytes: int) -> None:
        """Limit the output of a replayed run that continues. Its text so far and all its time until now count."""
        self.bytes_left += max_output_bytes - UNBOUNDED
        self._started = time.monotonic() - max(0.0, time.time() - self._first_event_at)

    def spend(self, usage: Usage) -> None:
        """Count the usage of a model turn of the present step, in case the run ends before `step_finished`."""
        self._unfinished_usage += usage

    def resume_step(self, usage: Usage) -> None:
        """Count this usage as that of the present step so far. A former process may have counted it."""
        self._unfinished_usage = usage

    def reopen(self, call_id: str, name: str) -> None:
        """Count a call as one without a result again, after its result could not be committed."""
        self._open_calls[call_id] = name

    def _count_output(self, text: str) -> None:
        if self._first_token_s is None:
            self._first_token_s = time.monotonic() - self._started
        # `isascii` reads a flag of the string, so plain text is counted without being encoded.
        self.bytes_left -= len(text) if text.isascii() else len(text.encode())
        if self.bytes_left < 0:
            raise OutputLimit

    def conclude(self, end: RunEnd, error: AgentStreamError | None = None, request_id: str = "") -> None:
        """Queue the run's final events: results for calls that have none, the answer or the error, and `complete`.

        The caller commits them, all at once. None of them counts as output, so they are written even at the limit.
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
            content = f"The run ended before this call had a result ({end})."
            self.put(ToolResult(tool_call_id=call, name=name, content=content, is_error=True, truncated=False))
        if end == "succeeded":
            self.put(FinalOutput(content=self.text, data=self._data, attempts=self._attempts))
        elif self.error is not None:
            self.put(self.error)
        self.usage += self._unfinished_usage
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
        self._text.clear()  # a finished run can stay in memory until the garbage collector runs


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
