"""The seam for tools: what a run offers to its model, and how a call is run, wherever the tool comes from."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from events import ToolSource
from services.outbound.client import GuardedClient


class ToolError(Exception):
    """Raised by a tool: a failure whose message is for the model, and is shown to the caller as the call's result.

    Of any other exception they are told only its type, since its message may hold what is not theirs.
    """


class InvalidArguments(ToolError):
    """The arguments are not those of the tool; the message says what is wrong with each."""


Report = Callable[[str | None, float | None, float | None], None]
"""Takes a running tool's progress: its message, how far it is, and how far it has to go. From any thread."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a call knows of its run. A tool with a parameter of this type gets it; the model doesn't see that parameter.

    `caller` is who asks, as far as the service knows callers. `metadata` is the request's. `http` is a client that
    reaches only what the operator's URL settings allow.
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
        """Tell how far the call is, as a `tool_progress` event. From any thread; what comes too fast is joined."""
        self.report(message, progress, total)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the call any more: the run was cancelled, or the call's time is up.

        A coroutine is cancelled by then; a tool in a thread has to look, and to return.
        """
        return self.stopped.is_set()


class Tool(Protocol):
    """A tool that the model can call. `parameters` is the JSON schema of its arguments, an object.

    `approval` says that a person has to agree to each call, and `idempotent` that a call may be made twice.
    """

    @property
    def name(self) -> str:
        """What the model calls it by; unique in a run."""

    @property
    def description(self) -> str:
        """What the model is told of it."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON schema of the arguments."""

    @property
    def source(self) -> ToolSource:
        """Where it is run: `python` or `mcp` by this service, `client` by the caller's page."""

    @property
    def server(self) -> str | None:
        """The MCP server that it is of."""

    @property
    def approval(self) -> bool:
        """Whether a person has to agree to each call."""

    @property
    def idempotent(self) -> bool:
        """Whether a call may be made twice, as when a crash leaves it open whether it was made."""

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise `InvalidArguments` unless a call could be made with these."""

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """Make a call. What it gives becomes text by `services.tooling.results.as_text`. Raise what it fails with.

        Bounded in time by the tool itself, with a `ToolError`.
        """
