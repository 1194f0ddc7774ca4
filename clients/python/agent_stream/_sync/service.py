"""Sends requests to the service, and reads streams of events."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx2

from agent_stream.errors import AgentStreamError, Unreachable
from agent_stream.events import StreamEvent
from agent_stream.frames import MAX_EVENT_BYTES, Frame, frame_of
from agent_stream.requests import Start, given, run_path
from agent_stream.responses import EVENT_STREAM, JSON, api_error, events_in, is_stream, record_of, was_not_accepted
from agent_stream.retries import START_RETRIES, Retries
from agent_stream.twins import Alarm

Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]
Parsed = TypeVar("Parsed")
CALL_TIMEOUT_S = 60.0
"""For a response that is no stream: the service may have to start an MCP server for it."""
MISTAKES = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
"""Errors of the program, such as a header with a line break, which another try would not mend."""


class Service:
    """The service at one URL. A connection without a byte for 2.5 heartbeats counts as broken."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Headers,
        heartbeat_s: float,
        max_retries: int | None,
        http_client: httpx2.Client,
    ) -> None:
        self.max_retries = max_retries
        self._url = base_url.rstrip("/")
        self._headers = headers
        self._silence_s = heartbeat_s * 2.5
        self._http = http_client

    def retries(self, *, is_started: bool = False) -> Retries:
        """Return the tries of a request that the service has not answered yet."""
        return Retries(START_RETRIES if self.max_retries is None else self.max_retries, is_started=is_started)

    def start(self, start: Start) -> "Connection":
        """Start a run, and return the stream of its events. Raise as `open` does, also for another response."""
        headers = {"Idempotency-Key": start.key}
        return self._stream(self.open("POST", start.path, body=start.body, headers=headers))

    def follow(self, run_id: str, after: int) -> "Connection":
        """Return the stream of a run's events after a number. Raise as `open` does, also for another response."""
        headers = {"Accept": EVENT_STREAM, "Last-Event-ID": str(after)}
        return self._stream(self.open("GET", run_path(run_id, "events"), headers=headers))

    def call(
        self,
        method: str,
        path: str,
        parse: Callable[[httpx2.Response], Parsed],
        *,
        is_repeatable: bool = True,
        may_stream: bool = False,
        retries: Retries | None = None,
        **request: Any,
    ) -> Parsed:
        """Send a request until it has a response that `parse` accepts, and return what `parse` makes of it.

        A request that is not repeatable is sent again only if it was not accepted. The response is read before it is
        parsed, unless it may be a stream and is one. Raise as `open` does.
        """
        retries = retries or self.retries()
        timeout_s = None if may_stream else CALL_TIMEOUT_S
        while True:
            Alarm().wait(retries.next_delay_s())
            try:
                response = self.open(method, path, timeout_s=timeout_s, **request)
                if not (may_stream and is_stream(response)):
                    self._read(response)
                return parse(response)
            except AgentStreamError as error:
                if not (is_repeatable or was_not_accepted(error)):
                    raise
                retries.fail(error)

    def get(
        self, path: str, kind: type[Parsed], *, retries: Retries | None = None, **params: str | int | bool | None
    ) -> Parsed:
        """Return what the service has at a path, as an object of this class."""
        return self.call("GET", path, record_of(kind), retries=retries, params=params)

    def events(self, run_id: str, after: int) -> list[StreamEvent]:
        """Return the events of a run so far."""
        params = {"wait": "false", "after": after}
        return self.call("GET", run_path(run_id, "events"), events_in, params=params)

    def open(
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
            params=given(params or {}),
            headers={**own, "Accept": JSON, **(headers or {})},
            timeout=httpx2.Timeout(self._silence_s, read=timeout_s or self._silence_s),
        )
        try:
            response = self._http.send(request, stream=True)
        except MISTAKES:
            raise
        except httpx2.RequestError as error:
            raise self._unreachable(error) from error
        if response.is_success:
            return response
        self._read(response)
        raise api_error(response)

    def _stream(self, response: httpx2.Response) -> "Connection":
        if is_stream(response):
            return Connection(response)
        self._read(response)
        raise api_error(response)

    def _read(self, response: httpx2.Response) -> None:
        """Read a response to its end, and close it also if that fails."""
        try:
            response.read()
        except httpx2.RequestError as error:
            raise self._unreachable(error) from error
        finally:
            response.close()

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(str(httpx2.URL(self._url).copy_with(userinfo=b"")), str(error) or type(error).__name__)


class Connection:
    """A response that is a stream of events."""

    def __init__(self, response: httpx2.Response) -> None:
        self.run_id: str | None = response.headers.get("X-Run-ID")
        self._response = response
        self._frames = iter(httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES))

    def next(self) -> Frame:
        """Return the next frame.

        Raise `EOFError` when the stream has ended, `httpx2.RequestError` when it breaks, and `ValueError` if something
        on the way has written into it.
        """
        frame = next(self._frames, None)
        if frame is None:
            raise EOFError("the stream has ended")
        return frame_of(frame)

    def close(self) -> None:
        """Close the connection. The run itself continues."""
        self._response.close()
