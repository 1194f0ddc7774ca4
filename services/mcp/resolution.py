"""Resolves the MCP servers that a request names: which are called by the model server, which by this service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import AnyUrl, ValidationError

from errors import McpUnavailable
from services.outbound.url_guard import UrlGuard
from setting_objects import McpServer
from tool_models import McpServerRef


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that this service calls: the operator's, with a `name`, or one that a request brought, with a `url`."""

    label: str
    name: str | None = None
    url: str | None = None

    @property
    def identity(self) -> str:
        """The name or the URL. No other server has the same."""
        return self.name or self.url or ""


class Resolved(NamedTuple):
    """The MCP servers of a request.

    `hosted` ones are passed unchanged to the model server, which calls them. This service calls the `local` ones.
    """

    hosted: list[str]
    local: list[LocalServer]


class McpChoice:
    """The rules by which requests name the operator's servers (`configured`) and others."""

    def __init__(self, configured: Mapping[str, McpServer], guard: UrlGuard) -> None:
        self._configured = configured
        self._guard = guard
        self._by_url = {str(server.url): name for name, server in configured.items() if server.url}

    def resolve(self, entries: Sequence[str | McpServerRef], *, hosted: bool) -> Resolved:
        """Decide for each server of a request whether it is hosted or local. `hosted` allows hosted ones.

        Raise `McpUnavailable` for a server that neither side can call, `UrlRefused` for a URL that the guard refuses.
        """
        local: dict[LocalServer, None] = {}  # dicts, to drop repeats and keep the order
        remote: dict[str, None] = {}
        for entry in entries:
            if isinstance(entry, str) and hosted and self._can_be_hosted(entry):
                remote[entry] = None
            else:
                local[self._local(entry, hosted=hosted)] = None
        return Resolved(list(remote), list(local))

    def only_hosted(self, entries: Sequence[str | McpServerRef]) -> list[str]:
        """Return the entries that only a model server can call: `owner/name`, unless it is one of the operator's."""
        slugs = [entry for entry in entries if isinstance(entry, str) and "/" in entry and "://" not in entry]
        return [slug for slug in slugs if not {slug, slug.partition("@")[0]} & self._configured.keys()]

    def _can_be_hosted(self, entry: str) -> bool:
        """Return whether the model server can call an entry.

        It can call a slug and an https URL, unless they name a server of the operator's that only this service reaches.
        """
        own = self._configured.get(entry) or self._configured.get(self._by_url.get(_normalized(entry) or "", ""))
        return "/" in entry and (own is None or reached_by_anyone(own))

    def _local(self, entry: str | McpServerRef, *, hosted: bool) -> LocalServer:
        requested = entry if isinstance(entry, str) else entry.name or str(entry.url)
        if "://" in requested:
            return self._by_address(requested)
        for name in (requested, requested.partition("@")[0]):
            if name in self._configured:
                return LocalServer(name, name=name)
        or_else = "send its slug" if hosted else "set DEDALUS_API_KEY, since the model server does not host MCP servers"
        raise McpUnavailable(f"MCP_SERVERS names no such server: add it there, send a public https URL, or {or_else}.")

    def _by_address(self, requested: str) -> LocalServer:
        url = _normalized(requested)
        if url is None:
            raise McpUnavailable("mcp_servers has an invalid URL: correct it, or send a server's name.")
        if name := self._by_url.get(url):
            return LocalServer(name, name=name)
        return LocalServer(str(self._guard.check(url).host), url=url)


def _normalized(url: str) -> str | None:
    """Return the URL in the form that the settings have, None if it is invalid."""
    try:
        return str(AnyUrl(url))
    except ValidationError:
        return None


def reached_by_anyone(server: McpServer) -> bool:
    """Return whether anyone can call a server by its URL alone, and the URL holds no secret.

    Then the model server can call it, too.
    """
    url = server.url
    if url is None or url.scheme != "https" or server.transport != "http":
        return False
    return not (server.headers or url.query or url.username or url.password)


def requested_as(name: str, server: McpServer) -> str:
    """Return the entry of `mcp_servers` by which a request names one of the operator's servers."""
    return str(server.url) if reached_by_anyone(server) else name
