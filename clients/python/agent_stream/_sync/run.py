"""One run, as callers see it."""

from collections.abc import Generator, Mapping
from contextlib import closing
from types import TracebackType
from typing import Any, Self

from agent_stream._sync.run_reader import RunReader
from agent_stream.errors import incomplete
from agent_stream.events import StreamEvent, Waiting
from agent_stream.records import PendingBudget, PendingCall, RunStatus, ToolCall, Usage
from agent_stream.requests import given
from agent_stream.transcript import Result


class Run:
    """A run, and an iterable of its events.

    A broken connection is resumed after the last event. While the run waits for an answer there is no connection.
    Leaving the loop closes the connection, and another loop resumes after the last event. After the last event of a
    run that failed, `RunFailed` is raised. `with` closes the connection also after an exception.
    """

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self._transcript = reader.transcript

    @property
    def id(self) -> str:
        """The run's id. Raise `RuntimeError` before the run has started: on entering `with`, or the loop."""
        if self._reader.run_id is None:
            raise RuntimeError("The run has not started: enter `with`, or read its first event.")
        return self._reader.run_id

    @property
    def status(self) -> RunStatus:
        """The status of the run, as far as it has been read."""
        return self._transcript.end or ("waiting" if self._transcript.is_waiting else "running")

    @property
    def last_seq(self) -> int:
        """The number of the last event that was read. `attach(run_id, after=…)` resumes there."""
        return self._transcript.last_seq

    @property
    def text(self) -> str:
        """The answer so far: the text of the last step."""
        return self._transcript.text

    @property
    def data(self) -> Any:
        """The value of the answer to a request with an `output_schema`.

        It is as much of the value as has been written, not checked, until the run has its `final_output`. None if there
        is none yet.
        """
        return self._transcript.data

    @property
    def usage(self) -> Usage:
        """The token counts of the steps so far."""
        return self._transcript.usage

    @property
    def calls(self) -> Mapping[str, ToolCall]:
        """The tool calls that were read, by their id."""
        return self._transcript.calls

    @property
    def pending(self) -> list[PendingCall]:
        """The calls that the run waits for."""
        return list(self._transcript.pending.values())

    @property
    def budget(self) -> PendingBudget | None:
        """The budget, if it is spent and the run waits for a decision on it."""
        return self._transcript.budget

    def raise_budget(self, *, max_cost_usd: float | None = None, max_total_tokens: int | None = None) -> None:
        """Set new totals of a spent budget, so that the run resumes.

        A total that is None stays as it is. Raise `ApiError` for totals that don't exceed what is spent, or if the run
        doesn't wait for its budget.
        """
        totals = given({"max_cost_usd": max_cost_usd, "max_total_tokens": max_total_tokens})
        self._reader.answer(self.id, "budget", call_id=None, body={"approved": True, **totals})

    def refuse_budget(self) -> None:
        """End the run, whose budget is spent, with `budget_exceeded`. Raise `ApiError` if it doesn't wait for that."""
        self._reader.answer(self.id, "budget", call_id=None, body={"approved": False})

    def approve(self, tool_call_id: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Approve a call, unchanged or with other arguments. Raise `ApiError` if the run doesn't wait for it."""
        changed = {} if arguments is None else {"arguments": arguments}
        self._decide(tool_call_id, {"approved": True, **changed})

    def refuse(self, tool_call_id: str, reason: str | None = None) -> None:
        """Refuse a call. The model receives the reason. Raise `ApiError` if the run doesn't wait for it."""
        given = {} if reason is None else {"reason": reason}
        self._decide(tool_call_id, {"approved": False, **given})

    def send_tool_result(self, tool_call_id: str, content: Any, *, is_error: bool = False) -> None:
        """Send the result of a client tool's call: text or a JSON value. Raise `ApiError` if it is refused."""
        result = {"tool_call_id": tool_call_id, "content": content, "is_error": is_error}
        self._reader.answer(self.id, "tool-results", call_id=tool_call_id, body={"results": [result]})

    def cancel(self) -> None:
        """Cancel the run. Its last event then has the status `cancelled`."""
        self._reader.cancel(self.id)

    def result(self) -> Result:
        """Read the run until it has ended, or has to wait for an answer that this program has no tool for.

        Raise `RunFailed` if the run has failed, or was not read from its first event.
        """
        with closing(self.__iter__()) as events:
            for event in events:
                if isinstance(event, Waiting) and self._reader.waits_for_others():
                    break
        result = self._transcript.result()
        if result is None:
            raise incomplete(self._reader.run_id)
        return result

    def close(self) -> None:
        """Close the connection. The run continues if its request has `on_disconnect="continue"`."""
        self._reader.close()

    def __enter__(self) -> Self:
        """Start the run. Raise `ApiError` if the service refuses it, and `Unreachable` if there is no answer."""
        if self._reader.run_id is None:
            self._reader.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Generator[StreamEvent, None]:
        """Yield each event after the last one that was read. Raise `RunFailed` at the end of a run that failed."""
        try:
            while not self._reader.is_over:
                event = self._reader.next()
                if event is not None:
                    yield event
        finally:
            self.close()
        self._transcript.raise_failure(self._reader.run_id)

    def _decide(self, tool_call_id: str, decision: Mapping[str, Any]) -> None:
        self._reader.answer(self.id, "approvals", tool_call_id, call_id=tool_call_id, body=decision)
