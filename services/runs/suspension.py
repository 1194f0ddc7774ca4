"""What a run waits for: calls that a person has to approve, and calls whose results the caller's page has to send."""

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

NOBODY = "Nobody answered in time."
NO_RESULT = "The page sent no result in time."

Answer = ApprovalResponse | ToolResult


class InDoubt(NamedTuple):
    """A call that a person has decided on, and of which it isn't known whether it was made."""

    response: ApprovalResponse


Outcomes = Mapping[str, Answer | InDoubt]
"""What each call that a run has waited for got, by the call's id."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A call that waits, with what a person is shown of it."""

    tool_call_id: str
    name: str
    kind: PendingKind
    arguments: dict[str, Any]

    @property
    def told(self) -> PendingCall:
        """As `waiting` tells it."""
        return PendingCall(tool_call_id=self.tool_call_id, name=self.name, kind=self.kind)


class Suspension(NamedTuple):
    """How an agent comes back whose run can't go on without others: for which calls, and with what it then goes on.

    `request` says what it is asked for, and `state` where it is; both are JSON.
    """

    pending: Sequence[Pending]
    request: Mapping[str, Any]
    state: Mapping[str, Any]


class Resumption(NamedTuple):
    """What a run resumes with after a wait: what was stored when it began, and the outcome of each call."""

    stored: SuspendedRun
    outcomes: Outcomes


class Wait:
    """The calls that a run waits for, and the answers that have come. `expires_at` is UTC, RFC 3339.

    `seq` is the number of the event that told of it.
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
    def left_s(self) -> float:
        """How many seconds there are until it expires; none may be left."""
        return max(0.0, (datetime.fromisoformat(self.expires_at) - datetime.now(UTC)).total_seconds())

    def new(self, answers: Iterable[Answer]) -> list[Answer]:
        """Those of the answers that have not come before. Raise `ToolCallNotFound` or `ToolCallAnswered`."""
        return [answer for answer in answers if not self._known(answer)]

    def _known(self, answer: Answer) -> bool:
        call = self._pending.get(answer.tool_call_id)
        kind: PendingKind = "approval" if isinstance(answer, ApprovalResponse) else "client"
        if call is None or call.kind != kind:
            raise ToolCallNotFound
        before = self.answers.get(answer.tool_call_id)
        if before is not None and before != answer:
            raise ToolCallAnswered
        return before is not None

    def over_with(self, answers: Sequence[Answer]) -> bool:
        """Whether nothing is left to wait for after these."""
        return {call.tool_call_id for call in self.pending} <= {answer.tool_call_id for answer in answers}

    def add(self, answers: Iterable[Answer]) -> None:
        """These have come."""
        self.answers |= {answer.tool_call_id: answer for answer in answers}

    def refusals(self) -> list[Answer]:
        """The answers of a wait that has taken too long."""
        return [_refusal(call) for call in self.pending]


def asking(pending: Sequence[Pending], expires_at: str) -> Iterable[EventData]:
    """The events that begin a wait: each request for an approval, and `waiting`."""
    for call in pending:
        if call.kind == "approval":
            yield ApprovalRequest(
                tool_call_id=call.tool_call_id, name=call.name, arguments=call.arguments, expires_at=expires_at
            )
    yield Waiting(pending=[call.told for call in pending])


def _refusal(call: PendingCall) -> Answer:
    if call.kind == "approval":
        return ApprovalResponse(tool_call_id=call.tool_call_id, approved=False, reason=NOBODY)
    return ToolResult(tool_call_id=call.tool_call_id, name=call.name, content=NO_RESULT, is_error=True, truncated=False)


def refusal_message(reason: str | None) -> str:
    """What the model is told of a call that was not approved."""
    if reason == NOBODY:
        return f"This call was not approved. {NOBODY}"
    return f"A person refused this call. {reason or ''}".strip()


class LoggedWait:
    """What a run's events tell of its latest wait."""

    def __init__(self) -> None:
        self._seq = 0
        self._pending: list[PendingCall] = []
        self._responses: dict[str, ApprovalResponse] = {}
        self._results: dict[str, ToolResult] = {}
        self._gone_on = True

    def add(self, event: StreamEvent) -> None:
        """Take in the next event."""
        match event.data:
            case Waiting(pending=pending):
                self._seq = event.seq
                self._pending, self._responses, self._results, self._gone_on = pending, {}, {}, False
            case ApprovalResponse() as response:
                self._responses[response.tool_call_id] = response
            case ToolResult() as result:
                self._results[result.tool_call_id] = result
            case ToolProgress():
                pass
            case _:
                self._gone_on = True

    def wait(self, checkpoint: SuspendedRun | None) -> Wait | None:
        """The wait, as far as it is answered; None where the run can't go on from where it was left off.

        It has gone on to other things since, or what is stored is of another wait: a power cut can do that.
        """
        if self._gone_on or checkpoint is None or list(checkpoint.pending) != [c.tool_call_id for c in self._pending]:
            return None
        wait = Wait(self._pending, checkpoint.expires_at, self._seq)
        wait.add(self._responses.values())
        wait.add(self._results[call.tool_call_id] for call in self._pending if self._is_client(call))
        return wait

    def outcomes(self) -> Outcomes:
        """What each call has come to, by its id, where the process went that made those which were approved."""
        decided = {call_id: InDoubt(response) for call_id, response in self._responses.items()}
        return decided | self._results

    def _is_client(self, call: PendingCall) -> bool:
        return call.kind == "client" and call.tool_call_id in self._results
