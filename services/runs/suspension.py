"""Describes waits: for a person to approve calls or to raise a budget, and for the page's results of client tools."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from database.suspended_runs import SuspendedRun
from errors import RunNotWaiting, ToolCallAnswered, ToolCallNotFound
from event_data import (
    ApprovalRequest,
    ApprovalResponse,
    BudgetResponse,
    CallKind,
    EventData,
    PendingBudget,
    PendingCall,
    PendingItem,
    ToolProgress,
    ToolResult,
    Waiting,
)
from events import StreamEvent
from services.runs.budget import NOT_FOR_A_BUDGET, check_raise
from usage_models import NO_USAGE, Usage

NO_DECISION = "Nobody answered in time."
NO_RESULT = "The page sent no result in time."

BUDGET = ""
"""The id of a budget among the ids of calls, which are never empty."""

CallAnswer = ApprovalResponse | ToolResult
Answer = CallAnswer | BudgetResponse


def id_of(answered: PendingItem | Answer) -> str:
    """Return the id of what is pending or of what an answer is for: that of its call, or `BUDGET`."""
    return BUDGET if isinstance(answered, PendingBudget | BudgetResponse) else answered.tool_call_id


class InDoubt(NamedTuple):
    """The decision on a call that a former process may or may not have made before it stopped."""

    response: ApprovalResponse


Outcomes = Mapping[str, Answer | InDoubt]
"""The outcome of everything that a run waited for, by its id."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A call that waits, with the arguments that a person is shown."""

    tool_call_id: str
    name: str
    kind: CallKind
    arguments: dict[str, Any]

    def listed(self, expires_at: str) -> PendingItem:
        """Return the call as the `waiting` event lists it."""
        return PendingCall(tool_call_id=self.tool_call_id, name=self.name, kind=self.kind)


@dataclass(frozen=True, slots=True)
class SpentBudget:
    """A budget that has too little left for another model turn."""

    spent_tokens: int
    spent_cost_usd: Decimal | None = None
    max_total_tokens: int | None = None
    max_cost_usd: Decimal | None = None

    def listed(self, expires_at: str) -> PendingItem:
        """Return the budget as the `waiting` event lists it."""
        return PendingBudget(kind="budget", expires_at=expires_at, **asdict(self))


class Suspension(NamedTuple):
    """Returned by an agent that must wait: the calls or the budget it waits for, and what to resume from.

    `request` is the request of the run and `state` the agent's checkpoint, both as JSON. The state's `usage`, if it has
    one, is that of the step under way.
    """

    pending: Sequence[Pending | SpentBudget]
    request: Mapping[str, Any]
    state: Mapping[str, Any]


class Resumption(NamedTuple):
    """The data that a run resumes with after a wait: its stored suspension and the outcomes."""

    stored: SuspendedRun
    outcomes: Outcomes


def usage_of_step(stored: SuspendedRun) -> Usage:
    """Return the usage of the step in which a run waits. The log has only what its restarts have reported of it."""
    return Usage.model_validate(stored.state.get("usage", NO_USAGE))


class Wait:
    """The calls or the budget that a run waits for, and the answers so far.

    `expires_at` is UTC, RFC 3339. `seq` is the number of the `waiting` event.
    """

    def __init__(self, pending: Iterable[PendingItem], expires_at: str, seq: int) -> None:
        self.expires_at = expires_at
        self.seq = seq
        self._pending = {id_of(item): item for item in pending}
        self.answers: dict[str, Answer] = {}

    @property
    def is_over(self) -> bool:
        """Whether everything has its answer."""
        return not self.pending

    @property
    def pending(self) -> list[PendingItem]:
        """What has no answer yet, in the model's order."""
        return [item for item_id, item in self._pending.items() if item_id not in self.answers]

    @property
    def names(self) -> Mapping[str, str]:
        """The tool of each call, by the call's id."""
        return {item_id: item.name for item_id, item in self._pending.items() if isinstance(item, PendingCall)}

    @property
    def remaining_s(self) -> float:
        """The seconds until the wait expires; 0 afterwards."""
        return max(0.0, (datetime.fromisoformat(self.expires_at) - datetime.now(UTC)).total_seconds())

    def new(self, answers: Iterable[Answer]) -> list[Answer]:
        """Return the answers that aren't repeated ones.

        Raise `ToolCallNotFound`, `ToolCallAnswered`, `RunNotWaiting` if the run doesn't wait for its budget, or
        `InvalidRequest` for totals that don't exceed what is spent.
        """
        return [answer for answer in answers if not self._is_repeated(answer)]

    def _is_repeated(self, answer: Answer) -> bool:
        item = self._pending.get(id_of(answer))
        if isinstance(answer, BudgetResponse):
            if not isinstance(item, PendingBudget):
                raise RunNotWaiting(NOT_FOR_A_BUDGET)
            check_raise(item, answer)
        elif not isinstance(item, PendingCall) or item.kind != _kind(answer):
            raise ToolCallNotFound
        before = self.answers.get(id_of(answer))
        if before is not None and before != answer:
            raise ToolCallAnswered
        return before is not None

    def is_over_with(self, answers: Sequence[Answer]) -> bool:
        """Whether everything has its answer once these are added."""
        return {id_of(item) for item in self.pending} <= {id_of(answer) for answer in answers}

    def add(self, answers: Iterable[Answer]) -> None:
        """Add answers."""
        self.answers |= {id_of(answer): answer for answer in answers}

    def refusals(self) -> list[Answer]:
        """Return the answers that whatever is pending gets when the wait expires."""
        return [_refusal(item) for item in self.pending]


def waiting_events(pending: Sequence[Pending | SpentBudget], expires_at: str) -> Iterable[EventData]:
    """Yield the events that begin a wait: an `approval_request` for each call that needs one, then `waiting`."""
    for item in pending:
        if isinstance(item, Pending) and item.kind == "approval":
            yield ApprovalRequest(
                tool_call_id=item.tool_call_id, name=item.name, arguments=item.arguments, expires_at=expires_at
            )
    yield Waiting(pending=[item.listed(expires_at) for item in pending])


def _kind(answer: CallAnswer) -> CallKind:
    return "approval" if isinstance(answer, ApprovalResponse) else "client"


def _refusal(item: PendingItem) -> Answer:
    if isinstance(item, PendingBudget):
        return BudgetResponse(approved=False)
    if item.kind == "approval":
        return ApprovalResponse(tool_call_id=item.tool_call_id, approved=False, reason=NO_DECISION)
    return ToolResult(tool_call_id=item.tool_call_id, name=item.name, content=NO_RESULT, is_error=True, truncated=False)


def refusal_message(reason: str | None) -> str:
    """Return the result that the model gets for a call that was not approved."""
    if reason == NO_DECISION:
        return f"This call was not approved. {NO_DECISION}"
    return f"A person denied this call. {reason or ''}".strip()


class LoggedWait:
    """Computes a run's latest wait from its events."""

    def __init__(self) -> None:
        self._seq = 0
        self._pending: list[PendingItem] = []
        self._responses: dict[str, ApprovalResponse] = {}
        self._budget: dict[str, BudgetResponse] = {}
        self._results: dict[str, ToolResult] = {}
        self._has_resumed = True  # there is no wait yet

    def add(self, event: StreamEvent) -> None:
        """Add the next event."""
        match event.data:
            case Waiting(pending=pending):
                self._seq = event.seq
                self._pending = pending
                self._responses = {}
                self._budget = {}
                self._results = {}
                self._has_resumed = False
            case ApprovalResponse() as response:
                self._responses[response.tool_call_id] = response
            case BudgetResponse() as decision:
                self._budget[BUDGET] = decision
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
        if self._has_resumed or not self._is_of(stored):
            return None
        wait = Wait(self._pending, stored.expires_at, self._seq)
        wait.add((*self._responses.values(), *self._budget.values()))
        wait.add(self._results[id_of(item)] for item in self._pending if self._is_answered_client(item))
        return wait

    def outcomes(self) -> Outcomes:
        """Return the outcomes by their ids. Whether a former process made the approved calls is in doubt."""
        # A call of a client tool has its result from the caller, and an approved call that was finished has its own.
        decided = {call_id: InDoubt(response) for call_id, response in self._responses.items()}
        return decided | self._results | self._budget

    def _is_of(self, stored: SuspendedRun) -> bool:
        """Return whether what is stored belongs to this wait. The budgets of several waits differ in `expires_at`."""
        budgets = [item for item in self._pending if isinstance(item, PendingBudget)]
        ids = [*map(id_of, self._pending)]
        return ids == list(stored.pending) and all(budget.expires_at == stored.expires_at for budget in budgets)

    def _is_answered_client(self, item: PendingItem) -> bool:
        return item.kind == "client" and item.tool_call_id in self._results
