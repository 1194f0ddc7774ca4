"""Conversations, as callers make, change and read them."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from events import Closed, Maybe, RunError, ToolSource, Usage, with_examples
from models import Content, Metadata, RunStatus, SessionId
from tool_models import Asked


class SessionCreate(Asked):
    """A session to be made; without an id it gets one."""

    model_config = with_examples({"session_id": "chat-1", "title": "The weather in Oslo"}, {})

    session_id: SessionId | None = None
    title: str | None = Field(None, max_length=200, description="Without one, the first input gives it.")
    metadata: Metadata | None = None


class SessionUpdate(Asked):
    """What is to be changed of a session. What is left out stays; null takes it away."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Winter in Norway"}, {"title": None}]})

    title: str | None = Field(None, max_length=200)
    metadata: Metadata | None = None


class StoredSession(Closed):
    """What the database keeps of a session."""

    session_id: str
    title: Maybe[str] = None
    metadata: Maybe[dict[str, str]] = None
    head_run_id: Maybe[str] = None
    created_at: str
    updated_at: str


class Session(StoredSession):
    """A conversation. `head_run_id` is its latest run, after which the next one begins.

    `status` is the latest run's, and absent before the first run. `usage` is the sum over the runs of all branches.
    """

    status: Maybe[RunStatus] = None
    usage: Usage


class SessionList(Closed):
    """Sessions, the last used first. `next_cursor` asks for the next page, and is absent on the last."""

    sessions: list[Session]
    next_cursor: Maybe[str] = None


class FunctionCall(Closed):
    """A tool call of the model. Calls that an earlier version recorded have no `source` and no `server`."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    source: Maybe[ToolSource] = None
    server: Maybe[str] = None
    result: Maybe[str] = None
    is_error: Maybe[bool] = None


class StoredMessage(Closed):
    """What the database keeps of a message."""

    run_id: str
    role: Literal["user", "assistant", "tool"]
    content: Content | None
    thinking: Maybe[str] = None
    tool_calls: Maybe[list[FunctionCall]] = None
    tool_call_id: Maybe[str] = None
    is_error: Maybe[bool] = None


class ProviderState(Closed):
    """What goes back to a model's provider with the answer of one step, and only to that: it means nothing to others.

    `family` names the provider (see `Route.family`). `message` holds keys of the assistant's message as they came, such
    as `reasoning_content`. `calls` holds, by the call's id, the keys of each tool call as they came, such as a
    thought signature, and its `arguments` where they were written otherwise than compactly.
    """

    run_id: str
    step: int
    family: str
    message: dict[str, Any]
    calls: dict[str, dict[str, Any]]

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes back."""
        return not self.message and not any(self.calls.values())


class SessionMessage(StoredMessage):
    """One message of a session. The messages of a run follow its input, and are there once the run has ended.

    `parent_id` is the message before it on its branch. `status` and `error` are those of its run: a run that is
    `queued`, `running` or `waiting` can be followed by its id. An assistant's message is `thinking`, then `content`,
    then `tool_calls`, whose results are also in the messages with the role `tool`.
    """

    message_id: str
    parent_id: Maybe[str] = None
    status: RunStatus
    error: Maybe[RunError] = None


class MessageList(Closed):
    """Messages in the order of the conversation. `next_cursor` asks for the next page, and is absent on the last."""

    messages: list[SessionMessage]
    next_cursor: Maybe[str] = None
