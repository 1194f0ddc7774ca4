"""Reads the service's responses."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import httpx2

from agent_stream.decoding import decode
from agent_stream.errors import AgentStreamError, ApiError, Unreachable
from agent_stream.events import StreamEvent, event_of
from agent_stream.records import ErrorInfo, RunRecord

Record = TypeVar("Record")
EVENT_STREAM = "text/event-stream"
JSON = "application/json"
FOREIGN = (ValueError, LookupError, TypeError, AttributeError)
"""The errors of reading a response that is not the service's."""


def is_stream(response: httpx2.Response) -> bool:
    """Whether a response is a stream of events."""
    content_type: str = response.headers.get("Content-Type", "")
    return response.status_code == httpx2.codes.OK and content_type.startswith(EVENT_STREAM)


def record_of(kind: type[Record]) -> Callable[[httpx2.Response], Record]:
    """Return a function that returns the JSON of a response as an object of a class.

    It raises `ApiError` if the response is not the service's.
    """

    def parse(response: httpx2.Response) -> Record:
        try:
            record: Record = decode(kind, response.json())
        except FOREIGN as error:
            raise api_error(response) from error
        return record

    return parse


def events_in(response: httpx2.Response) -> list[StreamEvent]:
    """Return the events in the lines of a response. Raise `ApiError` if it is not the service's."""
    try:
        lines = response.content.splitlines()  # a text's splitlines also splits at U+2028, which JSON allows in strings
        events = [event_of(json.loads(line)) for line in lines]
    except FOREIGN as error:
        raise api_error(response) from error
    return [event for event in events if event is not None]


def answered(response: httpx2.Response) -> httpx2.Response:
    """Return the response to an answer: a stream or a run. Raise `ApiError` if it is not the service's."""
    if not is_stream(response):
        record_of(RunRecord)(response)
    return response


def deleted(response: httpx2.Response) -> None:
    """Accept the response to a deletion. Raise `ApiError` if it is not the service's."""
    if response.status_code != httpx2.codes.NO_CONTENT:
        raise api_error(response)


def api_error(response: httpx2.Response) -> ApiError:
    """Return the error of a response that is not what was asked for."""
    status = response.status_code
    seconds = response.headers.get("Retry-After", "")
    retry_after = int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 19 else None
    foreign = {
        "code": f"http_{status}",
        "message": f"The response (HTTP {status}) is not from Agent Stream, but from a proxy or another server.",
        "retryable": status in (408, 429) or status >= 500,
        "request_id": "",
        "retry_after": retry_after,
    }
    info: ErrorInfo = decode(ErrorInfo, foreign | _reported(response))
    return ApiError(info, status)


def _reported(response: httpx2.Response) -> dict[str, Any]:
    """Return the error in the service's JSON, or nothing if it isn't the service's."""
    try:
        error = response.json()["error"]
        return dict(error) if {"code", "message", "retryable"} <= error.keys() else {}
    except FOREIGN:
        return {}


def was_not_accepted(error: AgentStreamError) -> bool:
    """Whether a request that failed can't have had an effect."""
    if isinstance(error, Unreachable):
        return isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
    return error.retry_after is not None
