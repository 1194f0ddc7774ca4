"""Describes waits: for a person to approve calls, and for the caller's page to send the results of client tools."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from database.suspended_runs import SuspendedRun
from errors import ToolCallAnswered, ToolCallNotFound
from events import (
    ApprovalRequest,
    ApprovalResponse,
    EventData,
    PendingCall,
    PendingKind,
    StreamEvent,
    ToolProgress,
    ToolResult,
    Waiting,
)

NO_DECISION = "Nobody answered in time."
NO_RESULT = "The page sent no result in time."

Answer = ApprovalResponse | ToolResult


class InDoubt(NamedTuple):
    """The decision on a call that a former process may or may not have made before it stopped."""

    response: ApprovalResponse


Outcomes = Mapping[str, Answer | InDoubt]
"""The outcome of each call that a run waited for, by the call's id."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A call that waits, with the arguments that a person is shown."""

    tool_call_id: str
    name: str
    kind: PendingKind
    arguments: dict[str, Any]

    @property
    def listed(self) -> PendingCall:
        """The call as the `waiting` event lists it."""
        return PendingCall(tool_call_id=self.tool_call_id, name=self.name, kind=self.kind)


class Suspension(NamedTuple):
    """Returned by an agent that must wait: the calls it waits for, and what to resume from.

    `request` is the request of the run and `state` the agent's checkpoint, both as JSON.
    """

    pending: Sequence[Pending]
    request: Mapping[str, Any]
    state: Mapping[str, Any]


class Resumption(NamedTuple):
    """The data that a run resumes with after a wait: its stored suspension and the outcome of each call."""

    stored: SuspendedRun
    outcomes: Outcomes


class Wait:
    """The calls that a run waits for, and the answers so far.

    `expires_at` is UTC, RFC 3339. `seq` is the number of the `waiting` event.
    """

    def __init__(self, pending: Iterable[PendingCall], expires_at: str, seq: int) -> None:
        self.expires_at = expires_at
        self.seq = seq
        self._pending = {call.tool_call_id: call for call in pending}
        self.answers: dict[str, Answer] = {}

    @property
    def is_over(self) -> bool:
        """Whether each call has its answer."""
        return not self.pending

    @property
    def pending(self) -> list[PendingCall]:
        """The calls without an answer, in the model's order."""
        return [call for call_id, call in self._pending.items() if call_id not in self.answers]

    @property
    def names(self) -> Mapping[str, str]:
        """The tool of each call, by the call's id."""
        return {call_id: call.name for call_id, call in self._pending.items()}

    @property
    def remaining_s(self) -> float:
        """The seconds until the wait expires; 0 afterwards."""
        return max(0.0, (datetime.fromisoformat(self.expires_at) - datetime.now(UTC)).total_seconds())

    def new(self, answers: Iterable[Answer]) -> list[Answer]:
        """Return the answers that aren't repeated ones. Raise `ToolCallNotFound` or `ToolCallAnswered`."""
        return [answer for answer in answers if not self._is_repeated(answer)]

    def _is_repeated(self, answer: Answer) -> bool:
        call = self._pending.get(answer.tool_call_id)
        kind: PendingKind = "approval" if isinstance(answer, ApprovalResponse) else "client"
        if call is None or call.kind != kind:
            raise ToolCallNotFound
        before = self.answers.get(answer.tool_call_id)
        if before is not None and before != answer:
            raise ToolCallAnswered
        return before is not None

    def is_over_with(self, answers: Sequence[Answer]) -> bool:
        """Whether each call has its answer once these are added."""
        return {call.tool_call_id for call in self.pending} <= {answer.tool_call_id for answer in answers}

    def add(self, answers: Iterable[Answer]) -> None:
        """Add answers."""
        self.answers |= {answer.tool_call_id: answer for answer in answers}

    def refusals(self) -> list[Answer]:
        """Return the answers that the remaining calls get when the wait expires."""
        return [_refusal(call) for call in self.pending]


def waiting_events(pending: Sequence[Pending], expires_at: str) -> Iterable[EventData]:
    """Yield the events that begin a wait: an `approval_request` for each call that needs one, then `waiting`."""
    for call in pending:
        if call.kind == "approval":
            yield ApprovalRequest(
                tool_call_id=call.tool_call_id, name=call.name, arguments=call.arguments, expires_at=expires_at
            )
    yield Waiting(pending=[call.listed for call in pending])


def _refusal(call: PendingCall) -> Answer:
    if call.kind == "approval":
        return ApprovalResponse(tool_call_id=call.tool_call_id, approved=False, reason=NO_DECISION)
    return ToolResult(tool_call_id=call.tool_call_id, name=call.name, content=NO_RESULT, is_error=True, truncated=False)


def refusal_message(reason: str | None) -> str:
    """Return the result that the model gets for a call that was not approved."""
    if reason == NO_DECISION:
        return f"This call was not approved. {NO_DECISION}"
    return f"A person refused this call. {reason or ''}".strip()


class LoggedWait:
    """Computes a run's latest wait from its events."""

    def __init__(self) -> None:
        self._seq = 0
        self._pending: list[PendingCall] = []
        self._responses: dict[str, ApprovalResponse] = {}
        self._results: dict[str, ToolResult] = {}
        self._has_resumed = True  # there is no wait yet

    def add(self, event: StreamEvent) -> None:
        """Add the next event."""
        match event.data:
            case Waiting(pending=pending):
                self._seq = event.seq
                self._pending = pending
                self._responses = {}
                self._results = {}
                self._has_resumed = False
            case ApprovalResponse() as response:
                self._responses[response.tool_call_id] = response
            case ToolResult() as result:
                self._results[result.tool_call_id] = result
            case ToolProgress():  # an approved call was under way, without a result
                pass
            case _:
                self._has_resumed = True

    def wait(self, stored: SuspendedRun) -> Wait | None:
        """Return the wait with its answers so far, or None if the run can't be resumed from what is stored.

        Either the run worked on after the wait, or `stored` belongs to another wait, as a power cut can leave it.
        """
        if self._has_resumed or list(stored.pending) != [call.tool_call_id for call in self._pending]:
            return None
        wait = Wait(self._pending, stored.expires_at, self._seq)
        wait.add(self._responses.values())
        wait.add(self._results[call.tool_call_id] for call in self._pending if self._is_client(call))
        return wait

    def outcomes(self) -> Outcomes:
        """Return each call's outcome, by its id. Whether a former process made the approved calls is in doubt."""
        # A call of a client tool has its result from the caller, and an approved call that was finished has its own.
        decided = {call_id: InDoubt(response) for call_id, response in self._responses.items()}
        return decided | self._results

    def _is_client(self, call: PendingCall) -> bool:
        return call.kind == "client" and call.tool_call_id in self._results
