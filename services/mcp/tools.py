"""Makes tools for runs of a server's tools, and the names by which models call them."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import mcp_types
from mcp import MCPError
from mcp.shared.dispatcher import ProgressFnT

from errors import McpAuthorizationRequired, McpServerFailed
from event_data import ToolSource
from json_codec.text import dumps
from services.mcp.arguments import validation_errors
from services.mcp.failures import UNREADABLE, SessionLost, describe_error
from services.mcp.results import text_of
from services.tooling.base import InvalidArguments, ToolContext, ToolError

logger = logging.getLogger(__name__)

MAX_NAME = 64  # characters; OpenAI and Anthropic accept no more
MAX_NAMESPACE = 30
SEPARATOR = "__"  # between a server's name and its tool's
MAX_DESCRIPTION = 10_000
MAX_DETAILS = 2000  # characters of an error's message, and of its data
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")

MakeCall = Callable[[str, Mapping[str, Any], ProgressFnT, bool], Awaitable[mcp_types.CallToolResult]]
"""Calls a server's tool by its own name. The last argument says whether a call is safe to repeat in a new session."""


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool of a server. `own_name` is its name on the server, `name` the one that the model uses."""

    name: str
    own_name: str
    description: str
    parameters: Mapping[str, Any]
    server: str
    idempotent: bool
    timeout_s: float
    make_call: MakeCall = field(repr=False)
    source: ToolSource = "mcp"
    approval: bool = False

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Check the arguments against the server's schema, where that is quick. Raise `InvalidArguments`."""
        if errors := validation_errors(self.parameters, arguments):
            raise InvalidArguments("The arguments don't fit the tool's schema.\n" + "\n".join(errors))

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """Call the tool. Its progress is reported to the context."""

        async def report(progress: float, total: float | None, message: str | None) -> None:
            context.progress(message, progress, total)

        try:
            async with asyncio.timeout(self.timeout_s):
                result = await self.make_call(self.own_name, arguments, report, self.idempotent)
            text = text_of(result)
        except TimeoutError:
            raise ToolError(f"The tool did not answer within {self.timeout_s:g} seconds.") from None
        except McpServerFailed:
            raise ToolError(f"The MCP server {self.server} can't be reached; the tool was not called.") from None
        except McpAuthorizationRequired as refused:
            raise ToolError(f"{refused.message} The tool was not called.") from None
        except SessionLost as lost:
            raise ToolError(self._lost(lost)) from None
        except MCPError as error:
            logger.warning(
                "the MCP server %s refused a call of %s: %s", self.server, self.own_name, describe_error(error)
            )
            raise ToolError(self._refused(error)) from None
        except (ValueError, RuntimeError) as error:
            logger.warning(
                "the answer of the MCP server %s to a call of %s can't be read: %s",
                self.server,
                self.own_name,
                describe_error(error),
            )
            raise ToolError(self._unreadable("it is not the result of a call")) from None
        if result.is_error:
            raise ToolError(text or "The tool failed without a message.")
        return text

    def _lost(self, lost: SessionLost) -> str:
        what = f"The connection to the MCP server {self.server} was lost during the call"
        if not lost.delivered:
            return f"{what}. The tool was not run."
        if self.idempotent:
            return f"{what}, twice."
        return (
            f"{what}. The tool may have been run. It is not known to be safe to call twice, so it was not called again."
        )

    def _refused(self, error: MCPError) -> str:
        """Word an error of the protocol for the model, with the server's message and data."""
        if error.code == UNREADABLE:
            return self._unreadable(error.message)
        details = "" if error.data is None else f" {dumps(error.data)[:MAX_DETAILS]}"
        message = f"{error.message[:MAX_DETAILS]}{details}"
        return f"The MCP server {self.server} refused the call (code {error.code}): {message}"

    def _unreadable(self, reason: str) -> str:
        return f"The tool may have been run, but the answer of the MCP server {self.server} can't be read: {reason}."


def as_tools(
    namespace: str, server: str, listed: Iterable[mcp_types.Tool], timeout_s: float, make_call: MakeCall
) -> list[McpTool]:
    """Make tools of a server's list, each with a unique name."""
    tools: dict[str, McpTool] = {}
    for tool in listed:
        name = tool_name(namespace, tool.name)
        if name in tools:
            name = _shortened(name, MAX_NAME, f"{namespace}\0{tool.name}", always=True)
        hints = tool.annotations or mcp_types.ToolAnnotations()
        tools[name] = McpTool(
            name=name,
            own_name=tool.name,
            description=(tool.description or tool.title or "")[:MAX_DESCRIPTION],
            parameters=tool.input_schema,
            server=server,
            idempotent=bool(hints.idempotent_hint or hints.read_only_hint),  # reading twice does no harm either
            timeout_s=timeout_s,
            make_call=make_call,
        )
    return list(tools.values())


def without_repeats(tools: Iterable[McpTool]) -> list[McpTool]:
    """Rename tools of several servers that have the same name."""
    named: dict[str, McpTool] = {}
    for tool in tools:
        identity = f"{tool.server}\0{tool.own_name}"
        name = tool.name if tool.name not in named else _shortened(tool.name, MAX_NAME, identity, always=True)
        named[name] = replace(tool, name=name)
    return list(named.values())


def tool_name(namespace: str, tool: str) -> str:
    """Make a name that model servers accept, `server__tool`: other characters become `_`, and long names are cut."""
    return _shortened(f"{_clean(namespace)}{SEPARATOR}{_clean(tool)}", MAX_NAME, f"{namespace}\0{tool}")


def namespaces(servers: Mapping[str, str]) -> dict[str, str]:
    """Make the namespace of each server from its label. If two have the same one, a mark of the identity is added.

    `servers` has the label of each identity. The namespaces don't depend on which servers are up, so a tool keeps its
    name.
    """
    plain = {identity: _shortened(_clean(label), MAX_NAMESPACE, label) for identity, label in servers.items()}
    all_names = list(plain.values())
    return {
        identity: name if all_names.count(name) == 1 else _shortened(name, MAX_NAMESPACE, identity, always=True)
        for identity, name in plain.items()
    }


def _clean(text: str) -> str:
    return NOT_IN_NAMES.sub("_", text)


def _shortened(name: str, characters: int, identity: str, *, always: bool = False) -> str:
    """Return the name; if it is too long, or `always`, its beginning and a mark made of the identity."""
    if len(name) <= characters and not always:
        return name
    mark = hashlib.sha256(identity.encode()).hexdigest()[:6]
    return f"{name[: characters - 7]}_{mark}"
