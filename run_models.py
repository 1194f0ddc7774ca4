"""Runs, and a run as one JSON response. Times are in UTC, as RFC 3339 with milliseconds."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from closed_models import ABSENT, Closed, Data, Maybe
from event_data import PendingItem, RunEnd, RunError, RunWarning, Source
from tool_models import ToolCall
from usage_models import Usage

OnDisconnect = Literal["cancel", "continue"]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]
MAX_METADATA = 16
ANONYMOUS = "anonymous"
"""The owner of everything that is made while authentication is off."""


def _check_count(value: Any) -> Any:
    """Report too many keys as one error, before each of them is validated."""
    if isinstance(value, dict) and len(value) > MAX_METADATA:
        raise ValueError(f"send at most {MAX_METADATA} keys")
    return value


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=MAX_METADATA),
    BeforeValidator(_check_count),
]


def now(offset_s: float = 0) -> str:
    """Return the time, `offset_s` seconds from now, in the form in which times are stored and sent."""
    return utc_text(datetime.now(UTC) + timedelta(seconds=offset_s))


def utc_text(time: datetime) -> str:
    """Return a time in the form in which times are stored and sent."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class RunStatus(StrEnum):
    """The status of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SessionKey(NamedTuple):
    """What identifies a session. Callers choose the ids of sessions, so several owners may have one `chat-1` each."""

    owner: str
    session_id: str


def caller_name(owner: str) -> str | None:
    """Return an owner as clients and tools see it: None for `ANONYMOUS`."""
    return None if owner == ANONYMOUS else owner


class Run(Closed):
    """A run.

    `last_seq` is the number of its last event so far. `pending` is what a waiting run needs an answer to.
    `model` is the one that was asked for, and `answered_by` the one that the latest step's answer is from.
    """

    run_id: str
    owner: str = Field(exclude=True)  # not sent
    session_id: Maybe[str] = None
    parent_run_id: Maybe[str] = None
    status: RunStatus
    model: str
    answered_by: Maybe[str] = None
    created_at: str
    finished_at: Maybe[str] = None
    last_seq: int
    on_disconnect: OnDisconnect
    metadata: Maybe[dict[str, str]] = None
    pending: Maybe[list[PendingItem]] = None
    finish_reason: Maybe[str] = None
    usage: Maybe[Usage] = None
    steps: Maybe[int] = None
    error: Maybe[RunError] = None

    @property
    def caller(self) -> str | None:
        """The owner as clients and tools see it: None for what was made while authentication was off."""
        return caller_name(self.owner)

    @property
    def session_key(self) -> SessionKey | None:
        """The session that the run belongs to."""
        return None if self.session_id is None else SessionKey(self.owner, self.session_id)


class RunList(Closed):
    """A page of runs, the latest first. Send `next_cursor` as `cursor` for the next page. The last page has none."""

    runs: list[Run]
    next_cursor: Maybe[str] = None


class AgentResponse(Closed):
    """A run as one JSON response, with the same content as its stream.

    A run with the status `waiting` has its events so far, and its tool calls in `pending` have no result yet.
    `sources` are the web pages that the answer cites. `warnings` report what was left out or lost. `model` is the one
    that was asked for, and `answered_by` the one that answered in the latest step. With an `output_schema`, `data`
    is the value of `output`, and `attempts` is the number of answers until it matched.
    """

    run_id: str
    session_id: Maybe[str] = None
    status: RunEnd | Literal["waiting"]
    output: str
    data: Data = Field(default_factory=lambda: ABSENT)
    attempts: Maybe[int] = None
    thinking: str
    tool_calls: list[ToolCall]
    pending: Maybe[list[PendingItem]] = None
    sources: Maybe[list[Source]] = None
    warnings: Maybe[list[RunWarning]] = None
    usage: Usage
    model: str
    answered_by: Maybe[str] = None
    finish_reason: Maybe[str] = None
    steps: int
    duration_ms: int
