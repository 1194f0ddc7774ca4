"""The protocol of all tools, wherever they come from, and the context of their calls."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from event_data import ToolSource
from services.outbound.client import GuardedClient


class ToolError(Exception):
    """Raised by a tool, for a failure whose message becomes the call's result, for the model and the caller.

    Of any other exception, the result has only the type, because the message may hold secrets of the operator.
    """


class InvalidArguments(ToolError):
    """The tool doesn't accept the arguments. The message says what is wrong with each of them."""


Report = Callable[[str | None, float | None, float | None], None]
"""Reports a running tool's progress, from any thread: a message, the progress and its total."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The run of a call. It is passed to tools with a parameter of this type, which the model doesn't see.

    `caller` is the owner of the run, or None while authentication is off. `metadata` is the request's.
    `http` is a client that connects only where the operator's URL settings allow.
    """

    run_id: str
    session_id: str | None
    tool_call_id: str
    caller: str | None
    metadata: Mapping[str, str]
    http: GuardedClient = field(repr=False)
    report: Report = field(repr=False)
    stopped: threading.Event = field(repr=False, default_factory=threading.Event)

    def progress(self, message: str | None = None, progress: float | None = None, total: float | None = None) -> None:
        """Report progress as a `tool_progress` event, from any thread. Reports in quick succession become one."""
        self.report(message, progress, total)

    @property
    def cancelled(self) -> bool:
        """Whether the call should stop, because the run was cancelled or the call's time is up.

        A coroutine is cancelled at the same time. A tool in a thread has to check this, and return.
        """
        return self.stopped.is_set()


class Tool(Protocol):
    """A tool that the model can call."""

    @property
    def name(self) -> str:
        """The name that the model uses, unique in a run."""

    @property
    def description(self) -> str:
        """The description for the model."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON schema of the arguments, an object."""

    @property
    def source(self) -> ToolSource:
        """Where calls are run: `python` or `mcp` by this service, `client` by the caller's page."""

    @property
    def server(self) -> str | None:
        """The MCP server of the tool, if it has one."""

    @property
    def approval(self) -> bool:
        """Whether a person has to approve each call."""

    @property
    def idempotent(self) -> bool:
        """Whether a call may be made twice, for example after a crash that leaves open whether it was made."""

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise `InvalidArguments` for arguments that the tool doesn't accept."""

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """Make a call, and return its result, which `services.tooling.results.as_text` makes text of.

        Raise the error that the call fails with. The tool itself limits the time, and raises `ToolError` beyond it.
        """
