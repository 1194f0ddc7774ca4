"""The tools of a run: those of this service that its request names, its MCP servers', and its caller's page's."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from errors import ErrorDetail, InternalError, ToolUnavailable
from events import RunWarning, ToolSource, WarningCode
from models import AgentRequest
from services.mcp.client import McpClient
from services.mcp.resolution import LocalServer
from services.tooling.base import Tool, ToolContext
from tool_models import ClientTool, McpToolList, ToolInfo, ToolList


class Registry(Protocol):
    """The tools of this service, by their names."""

    @property
    def all(self) -> Mapping[str, Tool]:
        """As they are now; a run keeps what it began with."""


class ToolSelection(NamedTuple):
    """A request's tools before its MCP servers are asked for theirs. `tools` are those of this service and the page's.

    The model's server calls the MCP servers in `hosted`, and this service those in `local`.
    """

    tools: Mapping[str, Tool]
    hosted: Sequence[str] = ()
    local: Sequence[LocalServer] = ()

    @property
    def urls(self) -> set[str]:
        """The URLs of MCP servers that the request brings."""
        hosted = {server for server in self.hosted if "://" in server}
        return hosted | {server.url for server in self.local if server.url}


class Toolset(NamedTuple):
    """A run's tools by their names, the MCP servers left to the upstream, and what has to be told of the others.

    `missing` are the beginnings of the names that the tools of servers would have that are down.
    """

    tools: Mapping[str, Tool]
    hosted: Sequence[str] = ()
    warnings: Sequence[RunWarning] = ()
    missing: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ClientSideTool:
    """A tool that the caller's page runs."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    source: ToolSource = "client"
    server: str | None = None
    approval: bool = False
    idempotent: bool = False

    @classmethod
    def of(cls, tool: ClientTool) -> "ClientSideTool":
        """As a request brings it."""
        return cls(tool.name, tool.description, tool.parameters)

    def check(self, arguments: Mapping[str, Any]) -> None:
        """The page checks them itself."""

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """The run waits for the page instead."""
        raise InternalError


class Toolbox:
    """Chooses each run's tools. `default` says which a request gets that names none."""

    def __init__(self, registry: Registry, servers: McpClient, default: Literal["none", "all"]) -> None:
        self._registry = registry
        self._servers = servers
        self._default = default

    @property
    def default(self) -> Sequence[str]:
        """The tools of a request that names none."""
        return tuple(self._registry.all) if self._default == "all" else ()

    def without_hosted(self, request: AgentRequest) -> tuple[AgentRequest, list[RunWarning]]:
        """The request without the MCP servers that only a model's server can call, and a warning about them."""
        entries = request.mcp_servers or []
        if not (hosted := self._servers.only_hosted(entries)):
            return request, []
        kept = [entry for entry in entries if entry not in hosted]
        message = f"MCP servers left out: {len(hosted)}, which only Dedalus hosts. Set DEDALUS_API_KEY."
        warning = RunWarning(code=WarningCode.MCP_SERVER_UNAVAILABLE, message=message)
        return request.model_copy(update={"mcp_servers": kept}), [warning]

    def select(self, request: AgentRequest, *, hosts_mcp: bool) -> ToolSelection:
        """Select a request's tools. Raise `ToolUnavailable`, `McpUnavailable` or `UrlRefused` for unavailable ones."""
        if faults := list(_faults(request, self._chosen(request), self._registry.all)):
            raise ToolUnavailable(details=faults)
        return self.reselect(request, hosts_mcp=hosts_mcp)

    def reselect(self, request: AgentRequest, *, hosts_mcp: bool) -> ToolSelection:
        """Select the tools of a request again, after a wait: without those removed since. Raise `McpUnavailable`."""
        known = self._registry.all
        tools: dict[str, Tool] = {name: known[name] for name in self._chosen(request) if name in known}
        tools |= {tool.name: ClientSideTool.of(tool) for tool in request.client_tools or ()}
        resolved = self._servers.resolve(request.mcp_servers or (), hosted=hosts_mcp)
        return ToolSelection(tools, resolved.hosted, resolved.local)

    async def complete(self, selection: ToolSelection) -> Toolset:
        """Add the tools of the MCP servers that this service calls; warn of those that are down."""
        tools, hosted, local = selection
        if not local:
            return Toolset(tools, hosted)
        offer = await self._servers.offer(local)
        added = {tool.name: tool for tool in offer.tools if tool.name not in tools}
        return Toolset({**tools, **added}, hosted, offer.warnings, offer.missing)

    def _chosen(self, request: AgentRequest) -> Sequence[str]:
        return self.default if request.tools is None else request.tools

    def check_approvals(self, request: AgentRequest, choice: Toolset) -> None:
        """Raise `ToolUnavailable` where a call that shall be approved could go unnoticed, since its name is another.

        One of a server that is down can't be called, unless the upstream calls servers, too.
        """
        down = () if choice.hosted else tuple(choice.missing)
        if any(name not in choice.tools and not name.startswith(down) for name in request.require_approval or ()):
            raise ToolUnavailable(
                "require_approval names a tool that this service does not run. One of an MCP server is called "
                'server__tool, and its server needs `"run": "local"`.'
            )

    def listed(self) -> ToolList:
        """The tools of this service."""
        return ToolList(tools=[_info(tool) for tool in self._registry.all.values()], default=list(self.default))

    async def of_server(self, name: str) -> McpToolList:
        """The tools of one of the operator's MCP servers. Raise `McpServerNotFound` or `McpServerFailed`."""
        return McpToolList(tools=[_info(tool) for tool in await self._servers.list_tools(name)])


def _faults(request: AgentRequest, chosen: Sequence[str], known: Container[str]) -> Iterator[ErrorDetail]:
    """Where the request names tools that are not there, or that can't be together."""
    pages = [tool.name for tool in request.client_tools or ()]
    for place, name in enumerate(request.tools or ()):
        if name not in known:
            yield ErrorDetail(f"tools.{place}", "There is no such tool here: see GET /api/agent/tools.")
    for place, name in enumerate(pages):
        if name in chosen:
            yield ErrorDetail(f"client_tools.{place}.name", "A tool of this service has this name, too.")
    for place, name in enumerate(request.require_approval or ()):
        if name in pages:
            yield ErrorDetail(f"require_approval.{place}", "The page runs this tool: it can ask there itself.")
        elif name not in chosen and not request.mcp_servers:
            yield ErrorDetail(f"require_approval.{place}", "The request does not choose this tool: name it in tools.")


def _info(tool: Tool) -> ToolInfo:
    return ToolInfo(
        name=tool.name,
        description=tool.description,
        parameters=dict(tool.parameters),
        approval=tool.approval,
        idempotent=tool.idempotent,
    )
