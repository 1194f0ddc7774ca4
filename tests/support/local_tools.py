"""Tools of this service, for tests of what runs them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wire import Json

from event_data import ToolSource
from services.outbound.client import GuardedClient
from services.outbound.url_guard import UrlGuard
from services.tooling.base import Report, Tool, ToolContext

Work = Callable[[Json], Awaitable[Any]]


NO_URLS = GuardedClient(UrlGuard())


def a_context(
    report: Report = lambda *_: None, http: GuardedClient = NO_URLS, session_id: str | None = None
) -> ToolContext:
    """The context that a call outside of a run receives."""
    return ToolContext("run_1", session_id, "call_1", "Ann", {"team": "red"}, http, report)


@dataclass(frozen=True)
class FixedTools:
    """A registry with exactly these tools."""

    all: Mapping[str, Tool]


class LocalTool:
    """A tool of this service. `heard` are the arguments of its calls."""

    description = "What a test needs."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}}
    source: ToolSource = "python"
    server: str | None = None
    approval = False
    idempotent = False

    def __init__(self, name: str, work: Work) -> None:
        self.name = name
        self.heard: list[Json] = []
        self._work = work

    def check(self, arguments: Mapping[str, Any]) -> None:
        pass

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        self.heard.append(dict(arguments))
        return await self._work(dict(arguments))


def gives(name: str, result: Any) -> LocalTool:
    """A tool that returns this value at once, or raises it if it is an exception."""

    async def work(_: Json) -> Any:
        if isinstance(result, BaseException):
            raise result
        return result

    return LocalTool(name, work)


def named(*tools: LocalTool) -> dict[str, LocalTool]:
    return {tool.name: tool for tool in tools}


async def added(arguments: Json) -> int:
    total: int = arguments["a"] + arguments["b"]
    return total
