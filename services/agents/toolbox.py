"""Selects the tools of a run: Python functions, tools of MCP servers, and tools that the caller's page runs."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from errors import ErrorDetail, InternalError, ToolUnavailable
from event_data import RunWarning, ToolSource, WarningCode
from models import AgentRequest
from parameter_models import UNFORCED, NamedTool
from services.mcp.client import McpClient
from services.mcp.resolution import LocalServer, McpChoice
from services.tooling.base import Tool, ToolContext
from tool_models import ClientTool, McpToolList, ToolInfo, ToolList


class Registry(Protocol):
    """A source of Python tools, as `ToolRegistry` is."""

    @property
    def all(self) -> Mapping[str, Tool]:
        """The current tools by name. A run keeps the mapping that it began with."""


class ToolSelection(NamedTuple):
    """A request's tools, before its MCP servers are asked for theirs.

    `tools` are Python functions and the page's tools. The model server calls the MCP servers in `hosted`, and this
    service calls those in `local`.
    """

    tools: Mapping[str, Tool]
    hosted: Sequence[str] = ()
    local: Sequence[LocalServer] = ()

    @property
    def urls(self) -> set[str]:
        """The URLs of MCP servers in the request."""
        hosted = {server for server in self.hosted if "://" in server}
        return hosted | {server.url for server in self.local if server.url}


class Toolset(NamedTuple):
    """A run's tools by name, the MCP servers that the upstream calls, and warnings about the others.

    `missing` are the prefixes of the tools' names of servers that are down.
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
        """Make the tool from its description in a request."""
        return cls(tool.name, tool.description, tool.parameters)

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Accept any arguments, because the page checks them itself."""

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """Never called: the run waits for the page instead."""
        raise InternalError


class Toolbox:
    """Selects each run's tools. `default` says which tools a request gets if it names none.

    `choice` decides which MCP servers a request gets, and `servers` calls those that the model server doesn't host.
    """

    def __init__(
        self, registry: Registry, choice: McpChoice, servers: McpClient, default: Literal["none", "all"]
    ) -> None:
        self._registry = registry
        self._choice = choice
        self._servers = servers
        self._default = default

    @property
    def default(self) -> Sequence[str]:
        """The names of the tools that a request gets if it names none."""
        return tuple(self._registry.all) if self._default == "all" else ()

    def without_hosted(self, request: AgentRequest) -> tuple[AgentRequest, list[RunWarning]]:
        """Return the request without the MCP servers that only Dedalus can call, and a warning about them."""
        entries = request.mcp_servers or []
        if not (hosted := self._choice.only_hosted(entries)):
            return request, []
        others = [entry for entry in entries if entry not in hosted]
        message = f"MCP servers that only Dedalus hosts were left out: {len(hosted)}. Set DEDALUS_API_KEY to use them."
        warning = RunWarning(code=WarningCode.MCP_SERVER_UNAVAILABLE, message=message)
        return request.model_copy(update={"mcp_servers": others}), [warning]

    def select(self, request: AgentRequest, *, hosts_mcp: bool) -> ToolSelection:
        """Select a request's tools. Raise `ToolUnavailable`, `McpUnavailable` or `UrlRefused` for unavailable ones."""
        if errors := list(_name_errors(request, self._selected(request), self._registry.all)):
            raise ToolUnavailable(details=errors)
        return self.reselect(request, hosts_mcp=hosts_mcp)

    def reselect(self, request: AgentRequest, *, hosts_mcp: bool) -> ToolSelection:
        """Select a request's tools again after a wait, without those removed since. Raise `McpUnavailable`."""
        known = self._registry.all
        tools: dict[str, Tool] = {name: known[name] for name in self._selected(request) if name in known}
        tools |= {tool.name: ClientSideTool.of(tool) for tool in request.client_tools or ()}
        resolved = self._choice.resolve(request.mcp_servers or (), hosted=hosts_mcp)
        return ToolSelection(tools, resolved.hosted, resolved.local)

    async def complete(self, selection: ToolSelection) -> Toolset:
        """Add the tools of the MCP servers that this service calls, and warnings about servers that are down."""
        tools, hosted, local = selection
        if not local:
            return Toolset(tools, hosted)
        offer = await self._servers.offer(local)
        added = {tool.name: tool for tool in offer.tools if tool.name not in tools}
        return Toolset({**tools, **added}, hosted, offer.warnings, offer.missing)

    def _selected(self, request: AgentRequest) -> Sequence[str]:
        return self.default if request.tools is None else request.tools

    def check_approvals(self, request: AgentRequest, toolset: Toolset) -> None:
        """Raise `ToolUnavailable` if `require_approval` names a tool that isn't in the toolset.

        Otherwise a misspelt name would let calls through without approval. Tools of a server that is down can't be
        called, so their names pass, unless the upstream calls MCP servers as well.
        """
        down = () if toolset.hosted else tuple(toolset.missing)
        if any(name not in toolset.tools and not name.startswith(down) for name in request.require_approval or ()):
            raise ToolUnavailable(
                "require_approval names a tool that this service does not run. Name a tool of an MCP server as "
                'server__tool, and give the server `"run": "local"`.'
            )

    def check_choice(self, request: AgentRequest, toolset: Toolset) -> None:
        """Raise `ToolUnavailable` if `tool_choice` forces the call of a tool that isn't in the toolset.

        The tools of MCP servers that the upstream calls are not known here, so their names pass.
        """
        choice = request.tool_choice
        if choice in UNFORCED or toolset.hosted:
            return
        if not toolset.tools or (isinstance(choice, NamedTool) and choice.name not in toolset.tools):
            raise ToolUnavailable("tool_choice forces the call of a tool that this run doesn't have.")

    def listed(self) -> ToolList:
        """Return the Python tools."""
        return ToolList(tools=[_info(tool) for tool in self._registry.all.values()], default=list(self.default))

    async def of_server(self, name: str) -> McpToolList:
        """Return the tools of a configured MCP server. Raise `McpServerNotFound` or `McpServerFailed`."""
        return McpToolList(tools=[_info(tool) for tool in await self._servers.list_tools(name)])


def _name_errors(request: AgentRequest, selected: Sequence[str], known: Container[str]) -> Iterator[ErrorDetail]:
    """Yield an error for each name in the request that is unknown, or that conflicts with another."""
    client_names = [tool.name for tool in request.client_tools or ()]
    for index, name in enumerate(request.tools or ()):
        if name not in known:
            yield ErrorDetail(f"tools.{index}", "There is no tool of this name. GET /api/agent/tools lists them.")
    for index, name in enumerate(client_names):
        if name in selected:
            yield ErrorDetail(f"client_tools.{index}.name", "A tool of this service has the same name. Choose another.")
    for index, name in enumerate(request.require_approval or ()):
        if name in client_names:
            yield ErrorDetail(f"require_approval.{index}", "The page runs this tool, so the page can ask for approval.")
        elif name not in selected and not request.mcp_servers:
            yield ErrorDetail(f"require_approval.{index}", "This tool is not part of the request. Name it in tools.")
    if request.mcp_servers:
        return
    match request.tool_choice:
        case NamedTool(name=name) if name not in {*selected, *client_names}:
            yield ErrorDetail("tool_choice.name", "This tool is not part of the request. Name it in tools.")
        case "required" if not (selected or client_names):
            yield ErrorDetail("tool_choice", "The request has no tools, so no call can be required.")


def _info(tool: Tool) -> ToolInfo:
    return ToolInfo(
        name=tool.name,
        description=tool.description,
        parameters=dict(tool.parameters),
        approval=tool.approval,
        idempotent=tool.idempotent,
    )
