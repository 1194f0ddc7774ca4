"""Which MCP servers a request means, and who calls each: the model's server, or this service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import AnyUrl, ValidationError

from errors import McpUnavailable
from services.outbound.url_guard import UrlGuard
from settings import McpServer
from tool_models import McpServerRef


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that this service calls: one of the operator's by its name, or one that a request brought by its URL."""

    label: str
    name: str | None = None
    url: str | None = None

    @property
    def identity(self) -> str:
        """What no other server has."""
        return self.name or self.url or ""


class Resolved(NamedTuple):
    """Who calls a request's servers: those in `hosted` the model's server, as they are, and those in `local` we."""

    hosted: list[str]
    local: list[LocalServer]


class McpChoice:
    """The operator's servers, and the rules by which requests name them and others."""

    def __init__(self, configured: Mapping[str, McpServer], guard: UrlGuard) -> None:
        self._configured = configured
        self._guard = guard
        self._by_url = {str(server.url): name for name, server in configured.items() if server.url}

    def resolve(self, entries: Sequence[str | McpServerRef], *, hosted: bool) -> Resolved:
        """Who calls each server of a request, where `hosted` says whether the model's server can.

        Raise `McpUnavailable` for one that nobody can, and `UrlRefused` for a URL that we don't go to.
        """
        local: dict[LocalServer, None] = {}
        away: dict[str, None] = {}
        for entry in entries:
            if isinstance(entry, str) and hosted and self._can_be_hosted(entry):
                away[entry] = None
            else:
                local[self._local(entry, hosted=hosted)] = None
        return Resolved(list(away), list(local))

    def only_hosted(self, entries: Sequence[str | McpServerRef]) -> list[str]:
        """The entries that only a model's server can call: `owner/name` that is none of the operator's."""
        slugs = [entry for entry in entries if isinstance(entry, str) and "/" in entry and "://" not in entry]
        return [slug for slug in slugs if not {slug, slug.partition("@")[0]} & self._configured.keys()]

    def _can_be_hosted(self, entry: str) -> bool:
        """A slug or an https URL can, but for those of servers of the operator's that only we can reach."""
        ours = self._configured.get(entry) or self._configured.get(self._by_url.get(_normal(entry) or "", ""))
        return "/" in entry and (ours is None or reached_by_anyone(ours))

    def _local(self, entry: str | McpServerRef, *, hosted: bool) -> LocalServer:
        said = entry if isinstance(entry, str) else entry.name or str(entry.url)
        if "://" in said:
            return self._at(said)
        for name in (said, said.partition("@")[0]):
            if name in self._configured:
                return LocalServer(name, name=name)
        also = "send its slug" if hosted else "set DEDALUS_API_KEY, since the model's server does not host MCP servers"
        raise McpUnavailable(f"MCP_SERVERS names no such server: add it there, send a public https URL, or {also}.")

    def _at(self, said: str) -> LocalServer:
        url = _normal(said)
        if url is None:
            raise McpUnavailable("mcp_servers has something that looks like a URL and isn't one.")
        if name := self._by_url.get(url):
            return LocalServer(name, name=name)
        return LocalServer(str(self._guard.check(url).host), url=url)


def _normal(url: str) -> str | None:
    """The URL as the settings have it, or None for what is none."""
    try:
        return str(AnyUrl(url))
    except ValidationError:
        return None


def reached_by_anyone(server: McpServer) -> bool:
    """Whether a server's URL is all that it takes to call it, for the model's server as for us, and holds no secret."""
    url = server.url
    if url is None or url.scheme != "https" or server.transport != "http":
        return False
    return not (server.headers or url.query or url.username or url.password)


def requested_as(name: str, server: McpServer) -> str:
    """What a request puts into `mcp_servers` for one of the operator's servers."""
    return str(server.url) if reached_by_anyone(server) else name
