"""The client of the service."""

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload
from urllib.parse import quote, urlsplit

import httpx2

from agent_stream._sync.resources import Runs, Sessions
from agent_stream._sync.run import Run
from agent_stream._sync.run_reader import RunReader
from agent_stream._sync.service import Headers, Service
from agent_stream.records import Content, McpServerList, McpToolList, ModelList, ToolList
from agent_stream.requests import RequestOptions, SimulateOptions, Start, new_key, request_of
from agent_stream.tools import Function, Tool, described
from agent_stream.transcript import Result
from agent_stream.twins import Calls

Registered = TypeVar("Registered", bound=Function)
URL = "http://127.0.0.1:8000"
ALL_STREAMS = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
"""A program may read any number of runs at once. The library's limit of 100 would let the others wait for ever."""


class AgentStream:
    """A client of Agent Stream.

    `base_url` is the service's URL. The default is the environment's AGENT_STREAM_URL, or http://127.0.0.1:8000.
    `headers` are sent with each request; they are a mapping, or a function that returns one.
    `heartbeat_s` is the service's HEARTBEAT_S. A connection without a byte for 2.5 times as long is replaced.
    `max_retries` is how often in a row to try again without success. By default, a request is sent up to five more
    times, and a run that has started is read for as long as the service keeps it.
    `http_client` replaces the client that sends the requests, for proxies and certificates. It is not closed.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        headers: Headers | None = None,
        heartbeat_s: float = 4,
        max_retries: int | None = None,
        http_client: httpx2.Client | None = None,
    ) -> None:
        url = checked_url(base_url or os.environ.get("AGENT_STREAM_URL") or URL)
        # Loading the certificates takes 0.2 s or more, and plain HTTP to this machine needs none.
        self._http = http_client or httpx2.Client(verify=url.startswith("https:"), limits=ALL_STREAMS)
        self._is_own = http_client is None
        self._tools: dict[str, Tool] = {}
        self._service = Service(
            url,
            headers=headers or {},
            heartbeat_s=heartbeat_s,
            max_retries=max_retries,
            http_client=self._http,
        )
        self.sessions = Sessions(self._service)
        self.runs = Runs(self._service)

    def stream(
        self, question: Content, /, *, idempotency_key: str | None = None, **options: Unpack[RequestOptions]
    ) -> Run:
        """Return a run that answers the question. It starts on entering `with`, or with its first event."""
        return self._start("/api/agent/stream", self._request(question, options), idempotency_key)

    def simulate(
        self,
        question: Content | None = None,
        /,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SimulateOptions],
    ) -> Run:
        """Return a scripted run, which needs no model. It starts as one of `stream` does."""
        return self._start("/api/agent/stream/simulate", self._request(question, options), idempotency_key)

    def run(
        self, question: Content, /, *, idempotency_key: str | None = None, **options: Unpack[RequestOptions]
    ) -> Result:
        """Answer the question, and return the run that has ended, or that has to wait for an answer of somebody else.

        Raise `RunFailed` if the run fails, `ApiError` if the service refuses it, and `Unreachable` if there is no
        answer.
        """
        with self.stream(question, idempotency_key=idempotency_key, **options) as run:
            return run.result()

    def attach(self, run_id: str, *, after: int = 0) -> Run:
        """Return a run that has started, to read its events after the number `after`.

        The calls of this program's tools that it waits for are made. A program that was stopped during such a call may
        have made it already.
        """
        return Run(RunReader(self._service, self._tools, run_id=run_id, after=after))

    @overload
    def tool(self, function: Registered, /) -> Registered: ...

    @overload
    def tool(self, /, *, parameters: dict[str, Any]) -> Callable[[Registered], Registered]: ...

    def tool(
        self, function: Registered | None = None, /, *, parameters: dict[str, Any] | None = None
    ) -> Registered | Callable[[Registered], Registered]:
        """Let models call a function of this program: a decorator.

        The model gets the docstring, and a JSON schema that is `parameters` or made of the type hints. Raise
        `TypeError` if that can't be made.
        """

        def register(function: Registered) -> Registered:
            Calls.check(function)
            tool = described(function, parameters)
            self._tools[tool.name] = tool
            return function

        return register if function is None else register(function)

    def models(self) -> ModelList:
        """Return the models on offer."""
        return self._service.get("/api/agent/models", ModelList)

    def tools(self) -> ToolList:
        """Return the Python tools of the service."""
        return self._service.get("/api/agent/tools", ToolList)

    def mcp_servers(self) -> McpServerList:
        """Return the MCP servers on offer."""
        return self._service.get("/api/agent/mcp-servers", McpServerList)

    def mcp_server_tools(self, name: str) -> McpToolList:
        """Return the tools of an MCP server that the service calls itself."""
        return self._service.get(f"/api/agent/mcp-servers/{quote(name)}/tools", McpToolList)

    def close(self) -> None:
        """Close all connections."""
        if self._is_own:
            self._http.close()

    def __enter__(self) -> Self:
        """Return the client, which is closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, question: Content | None, options: RequestOptions) -> dict[str, Any]:
        body = request_of(question, options)
        tools = [tool.request for tool in self._tools.values()]
        return {"client_tools": tools, **body} if tools else body

    def _start(self, path: str, body: dict[str, Any], key: str | None) -> Run:
        start = Start(path, body, key or new_key())
        return Run(RunReader(self._service, self._tools, start=start))


def checked_url(url: str) -> str:
    """Return a service's URL. Raise `ValueError` if it isn't one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL such as {URL}")
    return url
