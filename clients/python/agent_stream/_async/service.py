"""Sends requests to the service, and reads streams of events."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2

from agent_stream.decoding import decode
from agent_stream.errors import AgentStreamError, Unreachable, api_error
from agent_stream.events import StreamEvent, event_of
from agent_stream.frames import MAX_EVENT_BYTES, Frame, frame_of
from agent_stream.requests import Start
from agent_stream.retries import START_RETRIES, Retries
from agent_stream.twins import AsyncAlarm

Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]
Record = TypeVar("Record")
RUNS = "/api/agent/runs"
EVENT_STREAM = "text/event-stream"
JSON = "application/json"
CALL_TIMEOUT_S = 60.0
"""For a response that is no stream: the service may have to start an MCP server for it."""
MISTAKES = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
"""Errors of the program, such as a header with a line break, which another try would not mend."""


class AsyncService:
    """The service at one URL. A connection without a byte for 2.5 heartbeats counts as broken."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Headers,
        heartbeat_s: float,
        max_retries: int | None,
        http_client: httpx2.AsyncClient,
    ) -> None:
        self.max_retries = max_retries
        self._url = base_url.rstrip("/")
        self._headers = headers
        self._silence_s = heartbeat_s * 2.5
        self._http = http_client

    def retries(self, *, is_started: bool = False) -> Retries:
        """Return the tries of a request that the service has not answered yet."""
        return Retries(START_RETRIES if self.max_retries is None else self.max_retries, is_started=is_started)

    async def start(self, start: Start) -> "AsyncConnection":
        """Start a run, and return the stream of its events. Raise as `open` does, also for another response."""
        headers = {"Idempotency-Key": start.key}
        return await self._stream(await self.open("POST", start.path, body=start.body, headers=headers))

    async def follow(self, run_id: str, after: int) -> "AsyncConnection":
        """Return the stream of a run's events after a number. Raise as `open` does, also for another response."""
        headers = {"Accept": EVENT_STREAM, "Last-Event-ID": str(after)}
        return await self._stream(await self.open("GET", run_path(run_id, "events"), headers=headers))

    async def call(
        self,
        method: str,
        path: str,
        *,
        is_repeatable: bool = True,
        retries: Retries | None = None,
        timeout_s: float | None = CALL_TIMEOUT_S,
        **request: Any,
    ) -> httpx2.Response:
        """Send a request until it has a response, and read that unless it is a stream.

        A request that is not repeatable is sent again only if it was not accepted. A response may be silent for
        `timeout_s`, or for as long as a stream if that is None. Raise as `open` does.
        """
        retries = retries or self.retries()
        while True:
            await AsyncAlarm().wait(retries.next_delay_s())
            try:
                response = await self.open(method, path, timeout_s=timeout_s, **request)
                return response if is_stream(response) else await self._read(response)
            except AgentStreamError as error:
                if not (is_repeatable or was_not_accepted(error)):
                    raise
                retries.fail(error)

    async def get(self, path: str, kind: type[Record], **params: Any) -> Record:
        """Return what the service has at a path, as an object of this class."""
        return record(await self.call("GET", path, params=params), kind)

    async def events(self, run_id: str, after: int) -> list[StreamEvent]:
        """Return the events of a run so far."""
        path = run_path(run_id, "events")
        response = await self.call("GET", path, params={"wait": "false", "after": after}, headers={"Accept": "*/*"})
        events = (event_of(json.loads(line)) for line in response.text.splitlines())
        return [event for event in events if event is not None]

    async def open(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx2.Response:
        """Send a request, and return the response when its head has arrived. The caller has to close it.

        Raise `ApiError` if the request is refused, and `Unreachable` if there is no response.
        """
        own = self._headers() if callable(self._headers) else self._headers
        request = self._http.build_request(
            method,
            self._url + path,
            json=body,
            params={name: value for name, value in (params or {}).items() if value is not None},
            headers={**own, "Accept": JSON, **(headers or {})},
            timeout=httpx2.Timeout(self._silence_s, read=timeout_s or self._silence_s),
        )
        try:
            response = await self._http.send(request, stream=True)
        except MISTAKES:
            raise
        except httpx2.RequestError as error:
            raise self._unreachable(error) from error
        if response.is_success:
            return response
        await self._read(response)
        raise api_error(response.status_code, response.headers, response.content)

    async def _stream(self, response: httpx2.Response) -> "AsyncConnection":
        if is_stream(response):
            return AsyncConnection(response)
        await self._read(response)
        raise api_error(response.status_code, response.headers, response.content)

    async def _read(self, response: httpx2.Response) -> httpx2.Response:
        """Read a response to its end, and close it also if that fails."""
        try:
            await response.aread()
        except httpx2.RequestError as error:
            raise self._unreachable(error) from error
        finally:
            await response.aclose()
        return response

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(self._url, str(error) or type(error).__name__)


class AsyncConnection:
    """A response that is a stream of events."""

    def __init__(self, response: httpx2.Response) -> None:
        self.run_id: str | None = response.headers.get("X-Run-ID")
        self._response = response
        self._frames = aiter(httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES))

    async def next(self) -> Frame:
        """Return the next frame.

        Raise `EOFError` when the stream has ended, `httpx2.RequestError` when it breaks, and `ValueError` if something
        on the way has written into it.
        """
        frame = await anext(self._frames, None)
        if frame is None:
            raise EOFError("the stream has ended")
        return frame_of(frame)

    async def aclose(self) -> None:
        """Close the connection. The run itself continues."""
        await self._response.aclose()


def run_path(run_id: str, *more: str) -> str:
    """Return the path of a run, or of something of it."""
    return "/".join([RUNS, *(quote(part, safe="") for part in (run_id, *more))])


def is_stream(response: httpx2.Response) -> bool:
    """Whether a response is a stream of events."""
    content_type: str = response.headers.get("Content-Type", "")
    return response.status_code == httpx2.codes.OK and content_type.startswith(EVENT_STREAM)


def record(response: httpx2.Response, kind: type[Record]) -> Record:
    """Return the JSON of a response as an object of this class. Raise `ApiError` if it is not that of the service."""
    try:
        made: Record = decode(kind, response.json())
    except (ValueError, TypeError, AttributeError) as error:
        raise api_error(response.status_code, response.headers, response.content) from error
    return made


def was_not_accepted(error: AgentStreamError) -> bool:
    """Whether a request that failed can't have had an effect."""
    if isinstance(error, Unreachable):
        return isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
    return error.retry_after is not None
