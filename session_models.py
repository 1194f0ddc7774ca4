"""Sessions and their messages, as clients create, change and read them."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from closed_models import ABSENT, Closed, Data, Maybe, with_examples
from event_data import ApprovalResponse, RunError, Source, ToolSource
from part_models import Content
from run_models import Metadata, RunStatus, SessionId, SessionKey
from tool_models import Asked
from usage_models import Usage


class SessionCreate(Asked):
    """A session to create. Without an id, the service chooses one."""

    model_config = with_examples({"session_id": "chat-1", "title": "The weather in Oslo"}, {})

    session_id: SessionId | None = Field(
        None, description="The id of the new session. By default, the service chooses one."
    )
    title: str | None = Field(None, max_length=200, description="The default is the beginning of the first input.")
    metadata: Metadata | None = Field(
        None, description="Stored with the session and returned with it. Not sent to the model."
    )


class SessionUpdate(Asked):
    """Changes to a session. An omitted field keeps its value. null removes it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Winter in Norway"}, {"title": None}]})

    title: str | None = Field(None, max_length=200, description="The new title.")
    metadata: Metadata | None = Field(None, description="The new metadata, in place of all of the old.")


class StoredSession(Closed):
    """The part of a session that the database stores."""

    session_id: str
    owner: str = Field(exclude=True)  # not sent
    title: Maybe[str] = None
    metadata: Maybe[dict[str, str]] = None
    head_run_id: Maybe[str] = None
    created_at: str
    updated_at: str

    @property
    def key(self) -> SessionKey:
        """What identifies the session."""
        return SessionKey(self.owner, self.session_id)


class Session(StoredSession):
    """A conversation. `head_run_id` is its latest run, which the next run follows.

    `status` is that of the latest run, and absent before the first one. `usage` is the sum over the runs of all
    branches.
    """

    status: Maybe[RunStatus] = None
    usage: Usage


class SessionList(Closed):
    """Sessions, the most recently used first. Send `next_cursor` as `cursor` for the next page, if there is one."""

    sessions: list[Session]
    next_cursor: Maybe[str] = None


class FunctionCall(Closed):
    """A tool call of the model. Calls recorded by an earlier version have no `source` and no `server`.

    `arguments` are the model's. `approval_response` is a person's decision on the call, as in the event. If it has
    `arguments`, the call was made with these.
    """

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    source: Maybe[ToolSource] = None
    server: Maybe[str] = None
    approval_response: Maybe[ApprovalResponse] = None
    result: Maybe[str] = None
    is_error: Maybe[bool] = None


class StoredMessage(Closed):
    """The part of a message that the database stores."""

    run_id: str
    role: Literal["user", "assistant", "tool"]
    content: Content | None
    thinking: Maybe[str] = None
    tool_calls: Maybe[list[FunctionCall]] = None
    tool_call_id: Maybe[str] = None
    is_error: Maybe[bool] = None
    sources: Maybe[list[Source]] = None
    data: Data = Field(default_factory=lambda: ABSENT)
    attempts: Maybe[int] = None


class ProviderState(Closed):
    """Parts of one step's answer that its provider wants back with later requests. They mean nothing to others.

    `family` names the provider (see `Route.family`). `message` holds unchanged keys of the assistant's message, such as
    `reasoning_content`. `calls` holds, by the call's id, unchanged keys of each tool call, such as a thought signature,
    and its `arguments` if the model did not write them as compact JSON.
    """

    run_id: str
    step: int
    family: str
    message: dict[str, Any]
    calls: dict[str, dict[str, Any]]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send back."""
        return not self.message and not any(self.calls.values())


class SessionMessage(StoredMessage):
    """A message of a session. The input of a run is there from its start, the other messages once it has ended.

    `parent_id` is the previous message of its branch. `status`, `answered_by` and `error` are those of its run. A
    `queued`, `running` or `waiting` run can be followed by its id. An assistant message is `thinking`, then `content`,
    then `tool_calls`. The results of calls are also in messages with the role `tool`. `sources` are the web pages that
    the message cites. If the run's request has an `output_schema`, the last message has `data`, the value of its
    `content`, and `attempts`, the number of answers until it matched.
    """

    message_id: str
    parent_id: Maybe[str] = None
    status: RunStatus
    answered_by: Maybe[str] = None
    error: Maybe[RunError] = None


class MessageList(Closed):
    """Messages in order. Send `next_cursor` as `cursor` for the next page, if there is one."""

    messages: list[SessionMessage]
    next_cursor: Maybe[str] = None
