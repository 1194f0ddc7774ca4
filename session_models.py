"""Conversations, as callers make, change and read them."""

from typing import Any, Literal

from pydantic import Field

from events import Closed, Maybe, with_examples
from models import Content, Metadata, SessionId


class SessionCreate(Closed):
    """A session to be made; without an id it gets one."""

    model_config = with_examples({"session_id": "chat-1", "title": "The weather in Oslo"}, {})

    session_id: SessionId | None = None
    title: str | None = Field(None, max_length=200, description="Without one, the first input gives it.")
    metadata: Metadata | None = None


class SessionUpdate(Closed):
    """What is to be changed of a session. What is left out stays; null takes it away."""

    model_config = with_examples({"title": "Winter in Norway"})

    title: str | None = Field(None, max_length=200)
    metadata: Metadata | None = None


class Session(Closed):
    """A conversation. `head_run_id` is its latest run, after which the next one begins."""

    session_id: str
    title: Maybe[str] = None
    metadata: Maybe[dict[str, str]] = None
    head_run_id: Maybe[str] = None
    created_at: str
    updated_at: str


class SessionList(Closed):
    """Sessions, the last used first. `next_cursor` asks for the next page, and is absent on the last."""

    sessions: list[Session]
    next_cursor: Maybe[str] = None


class FunctionCall(Closed):
    """A tool call as the model made it."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]


class SessionMessage(Closed):
    """One message of a session. Those of a run follow its input; `parent_id` is the message before it on its branch."""

    message_id: str
    parent_id: Maybe[str] = None
    run_id: str
    role: Literal["user", "assistant", "tool"]
    content: Content | None
    tool_calls: Maybe[list[FunctionCall]] = None
    tool_call_id: Maybe[str] = None
    is_error: Maybe[bool] = None


class MessageList(Closed):
    """Messages in the order of the conversation. `next_cursor` asks for the next page, and is absent on the last."""

    messages: list[SessionMessage]
    next_cursor: Maybe[str] = None
